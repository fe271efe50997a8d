"""Baselines against the table of the source: d = 20, 1,280 prompts, squared error over E f²; Yang et al. 2023.

The source's numbers carry the sampling error of its own 1,280 prompts, so ours may differ by that of both.
"""

from dataclasses import replace

import pytest
import torch

from icl.algorithms.averaging import Averaging
from icl.algorithms.lasso import Lasso
from icl.algorithms.least_squares import LeastSquares
from icl.algorithms.nearest_neighbours import NearestNeighbours
from icl.core import last_every_prefix, last_step
from icl.rng import Draw
from icl.tasks.linear_regression import LinearRegression

TASK = LinearRegression(dim=20, n_context=40, positions="every")
N_SOURCE = 1280
TABLE = {
    LeastSquares(): {0: 1.062, 5: 0.765, 10: 0.515, 15: 0.248, 19: 0.0480, 20: 0.0, 40: 0.0},
    NearestNeighbours(k=3): {5: 1.22, 10: 0.904, 15: 0.812, 19: 0.796, 20: 0.769, 40: 0.710},
    Averaging(): {5: 4.63, 10: 2.04, 20: 1.13, 40: 0.525},
}
SPARSE = {10: 0.0498, 20: 0.00023, 40: 0.00013}  # of the Lasso with alpha = 0.01


def agrees(errors: torch.Tensor, expected: float) -> bool:
    """Within 4 standard errors of the difference of two means, ours and the source's."""
    spread = errors.std().item()
    return abs(errors.mean().item() - expected) <= 4 * spread * (1 / N_SOURCE + 1 / len(errors)) ** 0.5 + 1e-6


@pytest.mark.parametrize("algorithm", list(TABLE), ids=lambda a: type(a).__name__)
def test_linear_functions(algorithm):
    sample = TASK.sample(2000, Draw([0], "table", dtype=torch.float64))
    errors = (last_every_prefix(algorithm, sample.prompt) - sample.target)[0].square() / 20
    for i, expected in TABLE[algorithm].items():
        assert agrees(errors[:, i], expected), (i, errors[:, i].mean().item(), expected)


def test_sparse_functions_by_lasso():
    for i, expected in SPARSE.items():
        task = replace(TASK, n_context=i, n_nonzero=3, positions="query")
        sample = task.sample(300, Draw([0], "table", dtype=torch.float64))
        errors = (last_step(Lasso(alpha=0.01), sample.prompt) - sample.target)[0].square() / 3
        assert agrees(errors, expected), (i, errors.mean().item(), expected)
