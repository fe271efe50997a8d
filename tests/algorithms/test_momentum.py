"""Momentum against torch's optimiser, one prompt at a time."""

import pytest
import torch

from icl.algorithms.gradient_descent import GradientDescent
from icl.algorithms.momentum import Momentum
from icl.core import Prompt
from tolerances import EXACT


def test_it_is_the_optimiser_of_torch(draw):
    prompt = Prompt(draw.normal(3, 7, 4), draw.normal(3, 7), draw.normal(3, 4))
    trajectory = Momentum(step_size=0.2, momentum=0.6, steps=5)(prompt)
    for b in range(3):
        w = torch.zeros(4, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.SGD([w], lr=0.2, momentum=0.6)
        for t in range(6):
            torch.testing.assert_close(trajectory[t, 0, b], (w @ prompt.x_query[0, b]).detach(), **EXACT)
            optimizer.zero_grad()
            (0.5 * (prompt.x[0, b] @ w - prompt.y[0, b]).square().mean()).backward()
            optimizer.step()


def test_without_momentum_it_is_gradient_descent(draw):
    prompt = Prompt(draw.normal(3, 7, 4), draw.normal(3, 7, 2), draw.normal(3, 4))
    plain = GradientDescent(step_size=0.2, steps=4)(prompt)
    torch.testing.assert_close(Momentum(step_size=0.2, momentum=0.0, steps=4)(prompt), plain, **EXACT)


def test_bad_constants_are_refused():
    for bad in ({"momentum": 1.0}, {"momentum": -0.1}, {"steps": -1}, {"step_size": float("nan")}):
        with pytest.raises(ValueError, match=f"{next(iter(bad))}="):
            Momentum(**({"step_size": 0.1} | bad))
