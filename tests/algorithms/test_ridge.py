"""Ridge regression against numpy's augmented least squares and its limits."""

import math

import numpy as np
import pytest
import torch

from icl.algorithms.averaging import Averaging
from icl.algorithms.least_squares import LeastSquares
from icl.algorithms.ridge import Ridge
from icl.core import Prompt
from tolerances import EXACT


@pytest.mark.parametrize("n_context", [2, 9])
@pytest.mark.parametrize("out", [(), (2,)])
def test_it_is_least_squares_with_a_point_on_every_axis(n_context, out, draw):
    """√λ e_d with label 0 for every d adds λ |w|² to the loss."""
    prompt = Prompt(draw.normal(5, n_context, 4), draw.normal(5, n_context, *out), draw.normal(5, 4))
    trajectory = Ridge(ridge=0.3)(prompt)
    assert trajectory[0].abs().max() == 0
    for which in range(5):
        x = np.concatenate([prompt.x[0, which].numpy(), math.sqrt(0.3) * np.eye(4)])
        y = np.concatenate([prompt.y[0, which].numpy(), np.zeros((4, *out))])
        expected = torch.from_numpy(np.asarray(prompt.x_query[0, which].numpy() @ np.linalg.lstsq(x, y, rcond=None)[0]))
        torch.testing.assert_close(trajectory[1, 0, which], expected, **EXACT)


@pytest.mark.parametrize("n_context", [2, 9])
def test_a_vanishing_ridge_is_least_squares(n_context, draw):
    prompt = Prompt(draw.normal(5, n_context, 4), draw.normal(5, n_context), draw.normal(5, 4))
    torch.testing.assert_close(Ridge(ridge=1e-9)(prompt), LeastSquares()(prompt), rtol=1e-6, atol=1e-6)


def test_a_huge_ridge_is_averaging(draw):
    prompt = Prompt(draw.normal(5, 9, 4), draw.normal(5, 9), draw.normal(5, 4))
    torch.testing.assert_close(1e12 / 9 * Ridge(ridge=1e12)(prompt), Averaging()(prompt), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("ridge", [0.0, -1.0, math.nan, math.inf])
def test_an_impossible_ridge_is_refused(ridge):
    with pytest.raises(ValueError, match="ridge="):
        Ridge(ridge=ridge)
