"""Backbones of Hugging Face: GPT-2 against our own decoder, Llama against its module; both trainers."""

import pytest
import torch
import torch.nn.functional as F

from icl.config import Train
from icl.models.hf_gpt2 import HfGpt2
from icl.models.hf_llama import HfLlama
from icl.models.transformer import Transformer
from icl.objectives.every_position import EveryPosition
from icl.rng import Draw
from icl.tasks.linear_regression import LinearRegression
from icl.training.accelerated import fit_large
from icl.training.bank import fit
from tolerances import EXACT

TASK = LinearRegression(dim=3, n_context=4, positions="every")
SIZES = {"dim": 3, "n_context": 4, "n_layers": 2, "width": 8, "n_heads": 2}
OURS = {"wpe.weight": "positions", "read_in.weight": "read_in", "read_in.bias": "read_in_bias", "ln_f.weight": "gain",
        "ln_f.bias": "shift", "read_out.weight": "read_out", "read_out.bias": "read_out_bias"}  # fmt: skip
OF_A_LAYER = {
    "ln_1.weight": "gain_1", "ln_1.bias": "shift_1", "attn.c_attn.weight": "W_qkv", "attn.c_attn.bias": "b_qkv",
    "attn.c_proj.weight": "W_o", "attn.c_proj.bias": "b_o", "ln_2.weight": "gain_2", "ln_2.bias": "shift_2",
    "mlp.c_fc.weight": "W_up", "mlp.c_fc.bias": "b_up", "mlp.c_proj.weight": "W_down", "mlp.c_proj.bias": "b_down",
}  # fmt: skip


def drawn(kind, n_seeds=2, dtype=torch.float64, **fields):
    model = kind(**SIZES | fields, n_seeds=n_seeds, dtype=dtype)
    model.reset(Draw(range(n_seeds), "init", dtype=dtype))
    if kind is not Transformer:
        with torch.no_grad():
            for name, parameter in model.weights.items():  # norms away from the identity
                if model.fan_in[name.replace("-", ".")] is None:
                    parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return model


def positions(n_seeds=2, batch_size=3):
    return TASK.sample(batch_size, Draw(range(n_seeds), "p", dtype=torch.float64)).prompt.positions()


def copied(model: HfGpt2) -> Transformer:
    """Our decoder with the weights of GPT-2."""
    ours = Transformer(**SIZES, n_seeds=model.n_seeds, dtype=torch.float64)
    with torch.no_grad():
        for theirs, name in OURS.items():
            value = model.weights[theirs.replace(".", "-")]
            own = getattr(ours.gpt, name)
            own.copy_(value.mT if theirs.startswith("read_") and value.ndim == 3 else value.view(own.shape))
        for theirs, name in OF_A_LAYER.items():
            own = getattr(ours.gpt, name)
            layers = [model.weights[f"h-{at}-{theirs}".replace(".", "-")] for at in range(2)]
            own.copy_(torch.stack(layers, 1).view(own.shape))
    return ours


def test_gpt2_is_our_decoder_after_every_layer():
    model, (x, y) = drawn(HfGpt2), positions()
    torch.testing.assert_close(copied(model).every_prefix(x, y), model.every_prefix(x, y), **EXACT)


def test_llama_is_its_module_called_by_hand():
    model, (x, y) = drawn(HfLlama), positions()
    for m in range(2):
        w = {name: model.weights[name.replace(".", "-")][m] for name in model.fan_in}
        backbone = model.backbone(9, 2, 8, 2).double()
        backbone.load_state_dict({k: v for k, v in w.items() if not k.startswith("read_")}, strict=False)
        rows = []
        for i in range(5):
            rows += [x[m, :, i], F.pad(y[m, :, i : i + 1], (0, 2))]
        embedded = torch.stack(rows[:-1], 1) @ w["read_in.weight"].T + w["read_in.bias"]
        hidden = backbone(inputs_embeds=embedded).last_hidden_state
        expected = (hidden[:, ::2] @ w["read_out.weight"].T + w["read_out.bias"])[..., 0]
        torch.testing.assert_close(model.last_every_prefix(x, y)[m], expected, **EXACT)


@pytest.mark.parametrize("kind", [HfGpt2, HfLlama])
def test_the_last_guess_is_that_of_the_trajectory_and_fewer_steps_its_beginning(kind):
    model, (x, y) = drawn(kind), positions()
    trajectory = model.every_prefix(x, y)
    assert trajectory.shape == (3, 2, 3, 5)
    torch.testing.assert_close(model.last_every_prefix(x, y), trajectory[-1], **EXACT)
    torch.testing.assert_close(model.every_prefix(x, y, steps=1), trajectory[:2], **EXACT)


@pytest.mark.parametrize("kind", [HfGpt2, HfLlama])
def test_no_guess_sees_what_comes_after_it(kind):
    model, (x, y) = drawn(kind), positions(batch_size=1)
    x, y = x.requires_grad_(True), y.requires_grad_(True)
    guesses = model.last_every_prefix(x, y)
    for i in range(5):
        dx, dy = torch.autograd.grad(guesses[:, 0, i].sum(), (x, y), retain_graph=True)
        assert not dx[:, :, i + 1 :].any()
        assert not dy[:, :, i:].any()
        assert dx[:, :, : i + 1].abs().amin() > 0
        assert i == 0 or dy[:, :, :i].abs().amin() > 0


@pytest.mark.parametrize("kind", [HfGpt2, HfLlama])
def test_every_parameter_is_used_and_members_are_their_own(kind):
    bank, (x, y) = drawn(kind), positions()
    gradients = torch.autograd.grad(bank.last_every_prefix(x, y)[0].square().sum(), list(bank.parameters()))
    assert all(g[0].abs().max() > 0 and not g[1].any() for g in gradients)
    lone = kind(**SIZES, n_seeds=1, dtype=torch.float64)
    lone.reset(Draw([1], "init", dtype=torch.float64))
    fresh = kind(**SIZES, n_seeds=2, dtype=torch.float64)
    fresh.reset(Draw([0, 1], "init", dtype=torch.float64))
    assert all(torch.equal(fresh.state_dict()[k][1:], v) for k, v in lone.state_dict().items())


@pytest.mark.parametrize("kind", [HfGpt2, HfLlama])
def test_a_bank_and_accelerate_train_the_same_model(kind):
    train = Train(steps=4, batch_size=3, lr=1e-2, clip=1.0, n_snapshots=0)
    bank, large = (kind(**SIZES, n_seeds=n, dtype=torch.float64) for n in (2, 1))
    fit(TASK, bank, EveryPosition(), train, seeds=[2, 3])
    fit_large(TASK, large, EveryPosition(), train, seed=3)
    for name, value in large.state_dict().items():
        torch.testing.assert_close(bank.state_dict()[name][1:], value, rtol=1e-8, atol=1e-10)


def test_first_values_of_gpt2_itself():
    model = HfGpt2(**SIZES | {"width": 64}, init_std=0.02)
    model.reset(Draw([0], "init"))
    assert model.weights["h-0-mlp-c_fc-weight"].std().item() == pytest.approx(0.02, rel=0.05)
    assert not model.weights["h-0-mlp-c_fc-bias"].any()
    assert (model.weights["ln_f-weight"] == 1).all()
    assert model.weights["wpe-weight"].std().item() == pytest.approx(0.02, rel=0.1)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="n_heads=3 must divide width=8"):
        HfGpt2(**SIZES | {"n_heads": 3})
    with pytest.raises(ValueError, match=r"init_std=0.0 must be > 0"):
        HfGpt2(**SIZES, init_std=0.0)
    with pytest.raises(ValueError, match="width=6 over n_heads=2 must be even"):
        HfLlama(**SIZES | {"width": 6})
    model, (x, y) = drawn(HfGpt2), positions()
    with pytest.raises(ValueError, match=r"steps=3 must be in 0..2"):
        model.every_prefix(x, y, steps=3)
    with pytest.raises(ValueError, match="6 positions of dimension 3 does not fit"):
        model.every_prefix(torch.cat([x, x[:, :, :1]], 2), torch.cat([y, y[:, :, :1]], 2))
    with pytest.raises(ValueError, match="the draw has 1 seeds, the bank 2 members"):
        model.reset(Draw([0], "init"))
