"""Neighbours and kernels against scikit-learn, prompt by prompt and prefix by prefix."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsRegressor

from icl.algorithms.kernel_regression import KernelRegression
from icl.algorithms.nearest_neighbours import NearestNeighbours
from icl.core import Prompt, every_prefix


@pytest.mark.parametrize("k", [1, 3, 20])
def test_neighbours_are_those_of_scikit_learn(k, draw):
    x, y, query = draw.normal(6, 9, 3), draw.normal(6, 9), draw.normal(6, 3)
    ours = NearestNeighbours(k=k)(Prompt(x, y, query))[-1]
    for i in range(6):
        theirs = KNeighborsRegressor(n_neighbors=min(k, 9)).fit(x[0, i], y[0, i]).predict(query[0, i : i + 1])
        np.testing.assert_allclose(ours[0, i].item(), theirs[0], rtol=1e-10)


def test_the_kernel_is_the_mean_weighted_by_a_gaussian(draw):
    x, y, query = draw.normal(4, 7, 2), draw.normal(4, 7), draw.normal(4, 2)
    weights = torch.exp(-((x - query[:, :, None]) ** 2).sum(-1) / (2 * 0.7**2))
    expected = (weights * y).sum(-1) / weights.sum(-1)
    torch.testing.assert_close(KernelRegression(bandwidth=0.7)(Prompt(x, y, query))[-1], expected)


@pytest.mark.parametrize("predictor", [NearestNeighbours(k=3), KernelRegression(bandwidth=0.5)])
def test_every_prefix_is_the_call_on_the_prefix(predictor, draw):
    x, y = draw.normal(5, 8, 3), draw.normal(5, 8)
    found = every_prefix(predictor, x, y)
    for i in range(8):
        torch.testing.assert_close(found[..., i], predictor(Prompt(x[:, :, :i], y[:, :, :i], x[:, :, i])))
