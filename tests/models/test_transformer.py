"""The bank against one model written down token by token; causality; chunks; first values; bad input."""

import math

import pytest
import torch

import plain_gpt
from icl.core import every_prefix
from icl.models import gpt
from icl.models.transformer import Transformer
from icl.rng import Draw
from icl.tasks.linear_regression import LinearRegression
from tolerances import EXACT

TASK = LinearRegression(dim=3, n_context=4)


def drawn(n_seeds=2, **sizes) -> Transformer:
    model = Transformer(dim=3, n_context=4, width=8, n_seeds=n_seeds, dtype=torch.float64, **sizes)
    model.reset(Draw(range(n_seeds), "init", dtype=torch.float64))
    with torch.no_grad():
        for name, parameter in model.gpt.named_parameters():  # LayerNorms away from the identity
            if name.startswith(("gain", "shift")):
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return model


def positions(n_seeds=2, batch_size=3):
    return TASK.sample(batch_size, Draw(range(n_seeds), "p", dtype=torch.float64)).prompt.positions()


KERNELS = ["softmax", "linear", "gaussian"]


def plain(model, x, y, n_heads=2):
    """The guesses after every layer, "T M B P", one prompt after the other."""
    members = [
        torch.stack(
            [
                plain_gpt.stacked(plain_gpt.of_member(model, m), *prompt, n_heads, model.gpt.kernel)
                for prompt in zip(x[m], y[m])
            ],
            1,
        )
        for m in range(len(x))
    ]
    return torch.stack(members, 1)


@pytest.mark.parametrize("attention", KERNELS)
def test_a_bank_is_its_members_written_down(attention):
    model, (x, y) = drawn(attention=attention), positions()
    torch.testing.assert_close(model.every_prefix(x, y)[1:], plain(model, x, y), **EXACT)


@pytest.mark.parametrize("attention", KERNELS)
def test_gradients_are_those_of_the_members_written_down(attention):
    model, (x, y) = drawn(attention=attention), positions(batch_size=1)
    ours = torch.autograd.grad(model.last_every_prefix(x, y).square().sum(), list(model.parameters()))
    for m in range(2):
        w = plain_gpt.of_member(model, m)
        loss = plain_gpt.stacked(w, x[m, 0], y[m, 0], 2, attention)[-1].square().sum()
        torch.testing.assert_close([g[m] for g in ours], list(torch.autograd.grad(loss, list(w.values()))), **EXACT)


@pytest.mark.parametrize("attention", KERNELS)
def test_the_last_guess_is_that_of_the_trajectory(attention):
    model, (x, y) = drawn(attention=attention), positions()
    torch.testing.assert_close(model.last_every_prefix(x, y), model.every_prefix(x, y)[-1], **EXACT)


def test_a_second_pass_starts_from_the_tokens_of_the_first():
    model, (x, y) = drawn(n_layers=1), positions()
    twice = drawn(n_layers=2)
    state = {k: v if v.ndim < 4 else v.expand(-1, 2, -1, -1) for k, v in model.state_dict().items()}
    twice.load_state_dict(state)
    torch.testing.assert_close(model.passes(x, y, 2), twice.every_prefix(x, y)[1:], **EXACT)


@pytest.mark.parametrize("members_a_chunk", [1, 2])
def test_chunks_of_members_change_nothing(members_a_chunk, monkeypatch):
    model, (x, y) = drawn(n_seeds=5), positions(n_seeds=5)
    whole = model.last_every_prefix(x, y)
    gradients = torch.autograd.grad(whole.square().sum(), list(model.parameters()))
    monkeypatch.setitem(gpt.CHUNK_FLOATS, "cpu", members_a_chunk * 3 * 10 * 32)
    assert len(list(model.gpt.chunks(x, y))) == math.ceil(5 / members_a_chunk)
    chunked = model.last_every_prefix(x, y)
    torch.testing.assert_close(chunked, whole, **EXACT)
    again = torch.autograd.grad(chunked.square().sum(), list(model.parameters()))
    torch.testing.assert_close(again, gradients, **EXACT)


@pytest.mark.parametrize("attention", KERNELS)
def test_no_guess_sees_what_comes_after_it(attention):
    model, (x, y) = drawn(attention=attention), positions(batch_size=1)
    x, y = x.requires_grad_(True), y.requires_grad_(True)
    guesses = model.last_every_prefix(x, y)
    for i in range(5):
        dx, dy = torch.autograd.grad(guesses[:, 0, i].sum(), (x, y), retain_graph=True)
        assert not dx[:, :, i + 1 :].any()
        assert not dy[:, :, i:].any()
        assert dx[:, :, : i + 1].abs().amin() > 0
        assert i == 0 or dy[:, :, :i].abs().amin() > 0


def test_every_prefix_is_one_call_a_prefix():
    model, (x, y) = drawn(), positions()
    one_by_one = every_prefix(lambda prompt: model(prompt), x, y)
    torch.testing.assert_close(model.every_prefix(x, y), one_by_one, **EXACT)


def test_first_values_are_those_of_torch_linear_and_of_the_own_seed():
    bank, lone = (Transformer(dim=3, n_context=4, width=32, n_seeds=n) for n in (2, 1))
    bank.reset(Draw([5, 6], "init"))
    lone.reset(Draw([6], "init"))
    assert all(torch.equal(bank.state_dict()[k][1:], v) for k, v in lone.state_dict().items())
    for name, fan_in in {"read_in": 3, "W_qkv": 32, "b_up": 32, "W_down": 128, "read_out_bias": 32}.items():
        largest = getattr(bank.gpt, name).abs().max().item() * math.sqrt(fan_in)
        assert largest <= 1
        assert largest > 0.9 or name == "read_out_bias"
    assert bank.gpt.positions.std().item() == pytest.approx(0.02, rel=0.15)


@pytest.mark.parametrize(
    ("sizes", "line"),
    [
        ({"n_heads": 3}, "n_heads=3 must divide width=64"),
        ({"n_layers": 0}, "n_layers=0 must be >= 1"),
        ({"width": 0}, "width=0 must be >= 1"),
    ],
)
def test_impossible_sizes_are_refused(sizes, line):
    with pytest.raises(ValueError, match=line):
        Transformer(dim=3, n_context=4, **sizes)


def test_more_than_was_built_is_refused():
    model, (x, y) = drawn(), positions()
    with pytest.raises(ValueError, match=r"steps=4 must be in 0..3, the layers of an untied stack"):
        model.every_prefix(x, y, steps=4)
    with pytest.raises(ValueError, match="6 positions of dimension 3 does not fit"):
        model.every_prefix(torch.cat([x, x[:, :, :1]], 2), torch.cat([y, y[:, :, :1]], 2))
    with pytest.raises(ValueError, match="n=0 must be >= 1"):
        model.passes(x, y, 0)
    with pytest.raises(ValueError, match="the draw has 1 seeds, the bank 2 members"):
        model.reset(Draw([0], "init"))
