"""The bank's update rules against torch.optim, member by member, in float64."""

import pytest
import torch

from icl.config import Train
from icl.training.optimizers import BankOptimizer, schedule_factor
from tolerances import EXACT

RECIPES = {
    "sgd": {"optimizer": "sgd"},
    "momentum": {"optimizer": "sgd", "momentum": 0.9},
    "sgd_decay": {"optimizer": "sgd", "momentum": 0.5, "weight_decay": 0.1},
    "adam": {"optimizer": "adam"},
    "adam_l2": {"optimizer": "adam", "weight_decay": 0.1},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1},
}


def reference(train: Train, params, lr, decay):
    if train.optimizer == "sgd":
        return torch.optim.SGD(params, lr=lr, momentum=train.momentum, weight_decay=decay)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[train.optimizer]
    return kind(params, lr=lr, betas=tuple(train.betas), eps=train.eps, weight_decay=decay)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("clip", [None, 0.5])
def test_every_row_is_a_plain_torch_optim_run(recipe, clip, draw):
    train = Train(steps=12, clip=clip, **RECIPES[recipe])
    lrs, decays = [1e-3, 3e-2, 0.1], [train.weight_decay, 0.0, 2 * train.weight_decay]
    start = [draw.normal(3, 4, 2)[0], draw.normal(3, 5)[0]]
    target = [draw.normal(3, 4, 2)[0], draw.normal(3, 5)[0]]
    bank = [p.clone() for p in start]
    optimizer = BankOptimizer(bank, train, lr=lrs, weight_decay=decays)
    for step in range(train.steps):
        factor = 1.0 - step / 24
        optimizer.step([(p - t) ** 3 for p, t in zip(bank, target, strict=True)], factor)
    for member in range(3):
        lone = [p[member].clone().requires_grad_() for p in start]
        plain = reference(train, lone, lrs[member], decays[member])
        for step in range(train.steps):
            plain.param_groups[0]["lr"] = lrs[member] * (1.0 - step / 24)
            plain.zero_grad()
            sum((0.25 * (p - t[member]) ** 4).sum() for p, t in zip(lone, target, strict=True)).backward()
            if clip is not None:
                torch.nn.utils.clip_grad_norm_(lone, clip)
            plain.step()
        for ours, theirs in zip(bank, lone, strict=True):
            torch.testing.assert_close(ours[member], theirs.detach(), **EXACT)


def test_a_member_with_nan_gradients_leaves_the_others_alone(draw):
    start = draw.normal(2, 6)[0]
    grad = draw.normal(2, 6)[0]
    bad = grad.clone()
    bad[1] = torch.nan
    pair, lone = start.clone(), start[:1].clone()
    train = Train(clip=0.1, weight_decay=0.1)
    together, alone = BankOptimizer([pair], train), BankOptimizer([lone], train)
    for _ in range(3):
        together.step([bad], 1.0)
        alone.step([grad[:1]], 1.0)
    torch.testing.assert_close(pair[:1], lone, rtol=0, atol=0)
    assert pair[1].isnan().all()


def test_schedules_hold_then_fall_to_zero():
    linear = Train(steps=100, schedule="linear", hold=0.5)
    assert [schedule_factor(linear, k) for k in (0, 50, 75, 100)] == [1.0, 1.0, 0.5, 0.0]
    cosine = Train(steps=100, schedule="cosine")
    assert schedule_factor(cosine, 50) == pytest.approx(0.5)
    warm = Train(steps=100, warmup=10)
    assert [schedule_factor(warm, k) for k in (0, 4, 9, 99)] == [0.1, 0.5, 1.0, 1.0]


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.parametrize("resumed_at", [0, 7])
def test_the_update_that_a_graph_can_hold_is_the_ordinary_one(recipe, clip, resumed_at, draw):
    """Rates from a table on the device, in float64; also after a resume in the middle of the table."""
    train = Train(steps=12, clip=clip, schedule="cosine", warmup=3, **RECIPES[recipe])
    plain = [draw.normal(3, 4, 2)[0], draw.normal(3, 5)[0]]
    table = [p.clone() for p in plain]
    lrs = [1e-3, 3e-2, 0.1]
    ours, theirs = BankOptimizer(table, train, lr=lrs), BankOptimizer(plain, train, lr=lrs)
    for step in range(train.steps):
        if step == resumed_at:
            ours.load(theirs.state(), n_updates=step)
            for mine, other in zip(table, plain, strict=True):
                mine.copy_(other)
            ours.to_device()
        theirs.step([p**3 for p in plain], schedule_factor(train, step))
        if step >= resumed_at:
            ours.step_on_device([p**3 for p in table])
    for mine, other in zip(table, plain, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("optimizer", ["sign", "normalized"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sign_and_normalised_descent_are_plain_loops(optimizer, momentum, draw):
    train = Train(steps=9, optimizer=optimizer, momentum=momentum)
    lrs = [1e-2, 0.1, 0.3]
    bank = [draw.normal(3, 4, 2)[0], draw.normal(3, 5)[0]]
    lone = [[p[m].clone() for p in bank] for m in range(3)]
    ours = BankOptimizer(bank, train, lr=lrs)
    for _ in range(train.steps):
        ours.step([p**3 for p in bank], 0.5)
    for m, weights in enumerate(lone):
        velocity = [torch.zeros_like(w) for w in weights]
        for _ in range(train.steps):
            velocity = [momentum * v + w**3 for v, w in zip(velocity, weights, strict=True)]
            norm = sum((v * v).sum() for v in velocity) ** 0.5
            move = [v / norm if optimizer == "normalized" else torch.sign(v) for v in velocity]
            weights = [w - 0.5 * lrs[m] * v for w, v in zip(weights, move, strict=True)]
        for mine, other in zip(bank, weights, strict=True):
            torch.testing.assert_close(mine[m], other, **EXACT)


@pytest.mark.parametrize("optimizer", ["sign", "normalized"])
def test_without_a_gradient_a_member_stays(optimizer, draw):
    bank = draw.normal(2, 4)[0]
    before = bank.clone()
    BankOptimizer([bank], Train(optimizer=optimizer)).step([torch.tensor([[0.0] * 4, [1.0] * 4]).double()], 1.0)
    assert torch.equal(bank[0], before[0])
    assert not torch.equal(bank[1], before[1])


def test_warm_restarts_are_those_of_torch():
    train = Train(steps=60, lr=0.5, schedule="restarts", restart_every=6, restart_growth=2.0)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=train.lr)
    torch_schedule = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=6, T_mult=2)
    for step in range(train.steps):
        assert train.lr * schedule_factor(train, step) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        torch_schedule.step()
