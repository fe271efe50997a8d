"""Streams are functions of (seed, name, step, rank), and nobody else's business."""

import pytest
import torch

from icl.rng import Draw


def test_a_member_draws_the_same_alone_and_in_a_bank():
    bank, lone = Draw([3, 7, 5], "x", step=4), Draw([7], "x", step=4)
    for call in (lambda d: d.normal(2, 3), lambda d: d.uniform(4), lambda d: d.integers(9, 5)):
        torch.testing.assert_close(call(bank)[1:2], call(lone), rtol=0, atol=0)


@pytest.mark.parametrize("other", [{"seeds": [1]}, {"name": "y"}, {"step": 1}, {"rank": 1}])
def test_another_seed_name_step_or_rank_is_another_stream(other):
    base = {"seeds": [0], "name": "x", "step": 0, "rank": 0}
    assert not torch.equal(Draw(**base).normal(8), Draw(**(base | other)).normal(8))


def test_a_draw_goes_on_and_at_starts_afresh():
    draw = Draw([0], "x")
    first, second = draw.normal(8), draw.normal(8)
    assert not torch.equal(first, second)
    torch.testing.assert_close(draw.at(0).normal(8), first, rtol=0, atol=0)


def test_the_moments_are_those_of_the_laws():
    draw = Draw([0], "moments", dtype=torch.float64)
    n = 200_000
    normal, uniform, integers = draw.normal(n), draw.uniform(n), draw.integers(4, n).double()
    assert abs(normal.mean()) < 5 / n**0.5
    assert abs(normal.var() - 1) < 5 * (2 / n) ** 0.5
    assert abs(uniform.mean() - 0.5) < 5 * (1 / 12 / n) ** 0.5
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert abs(integers.mean() - 1.5) < 5 * (1.25 / n) ** 0.5


def test_permutations_are_permutations():
    rows = Draw([0, 1], "p").permutations(5, 7)
    assert rows.shape == (2, 5, 7)
    torch.testing.assert_close(rows.sort(-1).values, torch.arange(7).expand(2, 5, 7))
