"""Averaging against one step of gradient descent, and against its closed-form risk."""

import pytest
import torch

from icl.algorithms.averaging import Averaging
from icl.algorithms.gradient_descent import GradientDescent
from icl.core import Prompt
from tolerances import EXACT


@pytest.mark.parametrize("out", [(), (2,)])
def test_it_is_one_gradient_step_of_size_one(out, draw):
    prompt = Prompt(draw.normal(3, 9, 4), draw.normal(3, 9, *out), draw.normal(3, 4))
    torch.testing.assert_close(Averaging()(prompt), GradientDescent(step_size=1.0)(prompt), **EXACT)


def test_its_risk_is_the_closed_form(draw):
    """Mean squared error d (d + 1)/N for Gaussian x and w."""
    x, w, x_query = draw.normal(40_000, 6, 3), draw.normal(40_000, 3), draw.normal(40_000, 3)
    y, target = torch.einsum("mbnd,mbd->mbn", x, w), torch.einsum("mbd,mbd->mb", x_query, w)
    losses = (Averaging()(Prompt(x, y, x_query))[-1] - target).square()
    assert losses.mean().item() == pytest.approx(3 * 4 / 6, abs=5 * losses.std().item() / 200)


def test_it_has_one_step(draw):
    prompt = Prompt(draw.normal(3, 9, 4), draw.normal(3, 9), draw.normal(3, 4))
    assert Averaging()(prompt, steps=0).abs().max() == 0
    torch.testing.assert_close(Averaging()(prompt, steps=1), Averaging()(prompt), rtol=0, atol=0)
    for steps in (-1, 2):
        with pytest.raises(ValueError, match=f"steps={steps}"):
            Averaging()(prompt, steps=steps)
