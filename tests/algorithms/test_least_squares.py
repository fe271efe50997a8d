"""Least squares against numpy, prompt by prompt, with and without enough points."""

import numpy as np
import pytest
import torch

from icl.algorithms.least_squares import LeastSquares, least_squares_weights
from icl.core import Prompt
from tolerances import EXACT


@pytest.mark.parametrize("n_context", [2, 4, 9])
@pytest.mark.parametrize("out", [(), (2,)])
def test_it_is_numpys_solution_of_least_norm(n_context, out, draw):
    prompt = Prompt(draw.normal(5, n_context, 4), draw.normal(5, n_context, *out), draw.normal(5, 4))
    trajectory = LeastSquares()(prompt)
    assert trajectory.shape == (2, 1, 5, *out)
    assert trajectory[0].abs().max() == 0
    for which in range(5):
        w = np.linalg.lstsq(prompt.x[0, which].numpy(), prompt.y[0, which].numpy(), rcond=None)[0]
        expected = torch.from_numpy(np.asarray(prompt.x_query[0, which].numpy() @ w))
        torch.testing.assert_close(trajectory[1, 0, which], expected, **EXACT)


def test_coordinates_that_never_vary_get_no_weight(draw):
    x, x_query = draw.normal(5, 9, 4), draw.normal(5, 4)
    x[..., 2:] = 0
    prompt = Prompt(x, draw.normal(5, 9), x_query)
    fewer = Prompt(x[..., :2], prompt.y, x_query[..., :2])
    torch.testing.assert_close(LeastSquares()(prompt), LeastSquares()(fewer), **EXACT)


@pytest.mark.parametrize("n_context", [2, 3, 4, 9])
def test_it_is_numpys_solution_without_full_rank(n_context, draw):
    x, y = draw.normal(30, n_context, 4), draw.normal(30, n_context)
    x[:, ::3, :, 1] = 0  # a coordinate that never varies
    x[:, 1::3, -1] = x[:, 1::3, 0]  # the same point twice
    w = least_squares_weights(x, y)
    for which in range(30):
        expected = np.linalg.lstsq(x[0, which].numpy(), y[0, which].numpy(), rcond=None)[0]
        torch.testing.assert_close(w[0, which], torch.from_numpy(expected), rtol=1e-8, atol=1e-9)


def test_it_finds_the_weights_of_noiseless_labels_in_float32(draw):
    x, w, x_query = draw.normal(200, 9, 8).float(), draw.normal(200, 8).float(), draw.normal(200, 8).float()
    y, target = torch.einsum("mbnd,mbd->mbn", x, w), torch.einsum("mbd,mbd->mb", x_query, w)
    answer = LeastSquares()(Prompt(x, y, x_query))[-1]
    assert answer.dtype == torch.float32
    assert (answer - target).abs().median() < 1e-5


def test_it_has_one_step(draw):
    prompt = Prompt(draw.normal(3, 9, 4), draw.normal(3, 9), draw.normal(3, 4))
    assert LeastSquares()(prompt, steps=0).shape == (1, 1, 3)
    with pytest.raises(ValueError, match="steps=2"):
        LeastSquares()(prompt, steps=2)
