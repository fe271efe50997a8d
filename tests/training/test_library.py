"""Optimisers of pytorch_optimizer: a bank member is a lone run; where it would not be, the bank refuses."""

import pytest
import torch

from icl.config import ConfigError, Train
from icl.config.recipe import ELEMENTWISE_OPTIMIZERS, LONE_OPTIMIZERS
from icl.training.bank import Bank
from icl.training.library import LibraryRule, library_class
from icl.training.optimizers import BankOptimizer
from tolerances import EXACT

pytest.importorskip("pytorch_optimizer")
pytestmark = pytest.mark.filterwarnings("ignore")  # the library's own
SCALE = torch.tensor([1.0, 30.0, 0.1])


def start_of(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return [SCALE.view(-1, *[1] * len(s)).to(dtype) * torch.randn(3, *s, generator=generator).to(dtype)
            for s in ((4, 2), (5,))]  # fmt: skip


def descended(optimizer, weights, steps=6):
    for step in range(steps):
        optimizer.step([w**3 for w in weights], 1.0 - step / 12)
    return weights


def lone_run(name, weights, lr, decay=0.0, steps=6, **options):
    """A plain loop with the library's own class on one model's tensors."""
    weights = [w.clone().requires_grad_() for w in weights]
    rule = library_class(name)(weights, lr=lr, weight_decay=decay, **options)
    for step in range(steps):
        rule.param_groups[0]["lr"] = lr * (1.0 - step / 12)
        for w in weights:
            w.grad = w.detach() ** 3
        rule.step()
    return [w.detach() for w in weights]


@pytest.mark.parametrize("name", ELEMENTWISE_OPTIMIZERS)
def test_a_bank_member_is_a_lone_run(name):
    train = Train(optimizer=name, betas=[0.9, 0.98], eps=1e-8)
    lrs, decays = [1e-2, 1e-2, 3e-2], [0.0, 0.0, 0.1]
    bank = start_of()
    descended(BankOptimizer(bank, train, lr=lrs, weight_decay=decays), bank)
    options = LibraryRule(start_of(), train, lrs, decays).optimizer.defaults
    known = {k: options[k] for k in ("betas", "eps") if k in options}
    for m in range(3):
        for mine, other in zip(bank, lone_run(name, [w[m] for w in start_of()], lrs[m], decays[m], **known)):
            torch.testing.assert_close(mine[m], other, rtol=0, atol=0)


@pytest.mark.parametrize(
    "name", sorted({*LONE_OPTIMIZERS} - {"prodigy"})
)  # one estimate, the same here for a few steps
def test_what_a_bank_refuses_would_mix_its_members(name):
    """The library's class on the stacked tensors is not the lone run; the lone member is, and two are refused."""
    stacked = lone_run(name, start_of(torch.float32), 1e-2)
    lone = [lone_run(name, [w[m] for w in start_of(torch.float32)], 1e-2) for m in range(3)]
    if name not in ("fadam", "stableadamw"):  # their norm is of the update, and acts on large ones only
        assert any((s[m] - w).abs().max() > 1e-6 * w.abs().max() for m in range(3) for s, w in zip(stacked, lone[m]))
    with pytest.raises(ConfigError, match=f"optimizer={name} .*mix the members.*n_seeds=3"):
        BankOptimizer(start_of(), Train(optimizer=name))
    single = [w[:1].clone() for w in start_of(torch.float32)]
    train = Train(optimizer=name, betas=list(library_class(name)([torch.zeros(1)]).defaults.get("betas", (0, 0)))[:2])
    descended(BankOptimizer(single, train, lr=[1e-2]), single)
    assert all(not torch.equal(w, s[:1]) for w, s in zip(single, start_of(torch.float32)))


@pytest.mark.parametrize("name", ["lion", "adabelief", "ademamix"])
def test_state_goes_through_a_checkpoint(name):
    train = Train(optimizer=name)
    whole, half = start_of(), start_of()
    descended(BankOptimizer(whole, train, lr=[1e-2, 1e-2, 3e-2]), whole)
    first = BankOptimizer(half, train, lr=[1e-2, 1e-2, 3e-2])
    for step in range(3):
        first.step([w**3 for w in half], 1.0 - step / 12)
    second = BankOptimizer(half, train, lr=[1e-2, 1e-2, 3e-2])
    second.load({k: v.clone() for k, v in first.state().items()}, n_updates=3)
    for step in range(3, 6):
        second.step([w**3 for w in half], 1.0 - step / 12)
    for mine, other in zip(half, whole, strict=True):
        torch.testing.assert_close(mine, other, **EXACT)


def test_options_reach_the_class_and_unknown_ones_are_named():
    rule = LibraryRule(
        start_of(), Train(optimizer="adabelief", optimizer_options={"rectify": True}), [0.1] * 3, [0] * 3
    )
    assert rule.optimizer.param_groups[0]["rectify"] is True
    with pytest.raises(ConfigError, match=r"optimizer_options.rectfy is unknown to adabelief"):
        LibraryRule(start_of(), Train(optimizer="adabelief", optimizer_options={"rectfy": True}), [0.1] * 3, [0] * 3)


def test_a_bank_trains_and_resumes_with_one(tmp_path):
    from icl.models.linear_attention import LinearAttention
    from icl.objectives.last import Last
    from icl.tasks.linear_regression import LinearRegression

    def bank(steps_kept, folder):
        model = LinearAttention(dim=3, n_seeds=2)
        train = Train(steps=steps_kept, batch_size=8, optimizer="lion", lr=1e-2, checkpoint_every=4)
        return Bank(task=LinearRegression(dim=3, n_context=4), model=model, objective=Last(), train=train,
                    seeds=[0, 1], folder=folder)  # fmt: skip

    whole = bank(8, None)
    whole.run()
    bank(4, tmp_path).run()
    resumed = bank(8, tmp_path)
    resumed.run()
    for key, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[key], value)
