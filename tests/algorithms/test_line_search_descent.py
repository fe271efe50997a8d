"""Step sizes against a search over the loss itself."""

import pytest
import torch

from icl.algorithms.least_squares import LeastSquares
from icl.algorithms.line_search_descent import LineSearchDescent
from icl.core import Prompt


def loss(x, y, w):
    return 0.5 * (x @ w - y).square().mean()


def one_step(rule, x, y, w):
    """The textbook, by autograd and by trying."""
    w = w.clone().requires_grad_()
    value = loss(x, y, w)
    (g,) = torch.autograd.grad(value, w)
    w = w.detach()
    if rule == "armijo":
        eta = 1.0
        while loss(x, y, w - eta * g) > value - 1e-4 * eta * g @ g:
            eta *= 0.5
        return w - eta * g
    if rule == "polyak":
        least = loss(x, y, torch.linalg.lstsq(x, y[:, None]).solution[:, 0])
        return w - (value.detach() - least) / (g @ g) * g
    etas = torch.linspace(0, 5, 2_000_001, dtype=torch.float64)
    a, b = (x @ g).square().mean(), (g @ g)
    return w - etas[(0.5 * a * etas**2 - b * etas).argmin()] * g


@pytest.mark.parametrize(("rule", "atol"), [("armijo", 1e-12), ("polyak", 1e-10), ("exact", 1e-5)])
def test_every_step_is_the_one_that_a_search_finds(rule, atol, draw):
    p = Prompt(draw.normal(3, 9, 4), draw.normal(3, 9), draw.normal(3, 4))
    trajectory = LineSearchDescent(rule=rule, steps=4)(p)
    for i in range(3):
        w = torch.zeros(4, dtype=torch.float64)
        for step in range(4):
            w = one_step(rule, p.x[0, i], p.y[0, i], w)
            torch.testing.assert_close(trajectory[step + 1, 0, i], w @ p.x_query[0, i], rtol=atol, atol=atol)


@pytest.mark.parametrize("rule", ["armijo", "polyak", "exact"])
def test_the_end_is_least_squares(rule, draw):
    p = Prompt(draw.normal(4, 30, 3), draw.normal(4, 30), draw.normal(4, 3))
    torch.testing.assert_close(
        LineSearchDescent(rule=rule, steps=300)(p)[-1], LeastSquares()(p)[-1], rtol=1e-6, atol=1e-8
    )


def test_values_are_checked():
    with pytest.raises(ValueError, match=r"shrink=1\.0"):
        LineSearchDescent(shrink=1.0)
