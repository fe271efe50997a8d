"""Clippings and noise of a bank's gradients against plain loops over members and coordinates."""

import math

import pytest
import torch

from icl.config import Train
from icl.rng import Draw
from icl.training.gradients import clip_coordinates, clip_units
from icl.training.optimizers import BankOptimizer
from tolerances import EXACT


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.95])
def test_the_largest_coordinates_are_cut_to_the_next(share, draw):
    grad = draw.normal(4, 20)[0]
    found = clip_coordinates(grad, share)
    for row, cut in zip(grad, found, strict=True):
        order = row.abs().sort(descending=True).values
        limit = order[math.floor(share * 20)]
        expected = [math.copysign(min(abs(v), limit.item()), v) for v in row.tolist()]
        torch.testing.assert_close(cut, torch.tensor(expected, dtype=torch.float64), **EXACT)


def test_adaptive_clipping_is_a_loop_over_units(draw):
    weight, grad = draw.normal(3, 4, 6)[0], 5 * draw.normal(3, 4, 6)[0]
    weight[0, 0] = 0  # counts as 1e-3
    found = clip_units(grad, weight, 0.1)
    for m in range(3):
        for i in range(4):
            most = 0.1 * max(weight[m, i].norm().item(), 1e-3)
            scale = min(1.0, most / grad[m, i].norm().item())
            torch.testing.assert_close(found[m, i], scale * grad[m, i], **EXACT)


def test_adaptive_clipping_of_one_number_a_member():
    found = clip_units(torch.tensor([3.0, -0.01]), torch.tensor([2.0, 2.0]), 0.1)
    torch.testing.assert_close(found, torch.tensor([0.2, -0.01]))


@pytest.mark.parametrize("option", [{"clip_share": 0.5}, {"adaptive_clip": 0.05}, {"gradient_noise": 0.3}])
def test_a_member_is_treated_as_alone(option, draw):
    start, scale = draw.normal(3, 4, 5)[0], torch.tensor([1.0, 100.0, 0.01]).double().view(3, 1, 1)
    train = Train(steps=5, optimizer="sgd", lr=0.1, **option)
    bank = start.clone()
    together = BankOptimizer([bank], train, noise=Draw([3, 4, 5], "n", dtype=torch.float64))
    for _ in range(5):
        together.step([scale * bank**3], 1.0)
    for m in range(3):
        lone = start[m : m + 1].clone()
        alone = BankOptimizer([lone], train, noise=Draw([3 + m], "n", dtype=torch.float64))
        for _ in range(5):
            alone.step([scale[m] * lone**3], 1.0)
        assert torch.equal(lone[0], bank[m])


def test_the_noise_has_the_variance_that_it_says():
    weights, steps = torch.zeros(1, 20000), 4
    optimizer = BankOptimizer([weights], Train(optimizer="sgd", lr=1.0, gradient_noise=0.5), noise=Draw([0], "n"))
    for step in range(steps):
        before = weights.clone()
        optimizer.step([torch.zeros_like(weights)], 1.0)
        assert (weights - before).var().item() == pytest.approx(0.5 / (1 + step) ** 0.55, rel=0.05)
