"""The curve against errors taken by hand; exact values of averaging and least squares; bad input."""

import pytest
import torch

from icl.algorithms.averaging import Averaging
from icl.algorithms.least_squares import LeastSquares
from icl.comparisons.error_over_context import ErrorOverContext
from icl.comparisons.walk import compare
from icl.config import ConfigError
from icl.rng import Draw
from icl.tasks.linear_regression import LinearRegression
from icl.tasks.sine_regression import SineRegression
from icl.tasks.tree_regression import TreeRegression

TASK = LinearRegression(dim=4, n_context=8, n_nonzero=2)
DRAW = Draw([0], "evaluate", dtype=torch.float64)


def test_the_curves_are_the_known_risks_of_both():
    """Least squares max(0, 1 − i/d); averaging (d + 1)/i, both for sparse weights too (only E w wᵀ enters)."""
    measured = compare(ErrorOverContext(n_prompts=20_000, n_pairs=2), LeastSquares(), Averaging(), TASK, DRAW)
    curve = measured.curves["positions"]
    least = torch.tensor([max(0, 1 - i / 4) for i in range(9)])
    torch.testing.assert_close(torch.tensor(curve.model[0]), least, rtol=0.05, atol=1e-6)
    mean = torch.tensor([1.0] + [5 / i for i in range(1, 9)])
    torch.testing.assert_close(torch.tensor(curve.reference[0]), mean, rtol=0.06, atol=0)
    numbers = {name: value.item() for name, value in measured.numbers.items()}
    assert numbers["relative_mse"] == pytest.approx(curve.model[0][2])
    assert numbers["ratio"] == pytest.approx(curve.model[0][2] / curve.reference[0][2])
    gaps = [abs(a - b) for a, b in zip(curve.model[0], curve.reference[0])]
    assert numbers["largest_gap"] == pytest.approx(max(gaps))


@pytest.mark.parametrize(
    "task", [TreeRegression(dim=4, n_context=3), LinearRegression(dim=4, n_context=3, target="relu")]
)
def test_a_zero_guess_has_error_one(task):
    measured = compare(ErrorOverContext(n_prompts=4000, n_pairs=0), LeastSquares(), Averaging(), task, DRAW)
    assert measured.numbers["relative_mse"].item() == pytest.approx(1, rel=0.1)


def test_what_cannot_be_asked():
    with pytest.raises(ConfigError, match="n_pairs=9 must be <= 8"):
        compare(ErrorOverContext(n_pairs=9), LeastSquares(), Averaging(), TASK, DRAW)
    with pytest.raises(ConfigError, match="SineRegression has no positions"):
        compare(ErrorOverContext(), LeastSquares(), Averaging(), SineRegression(n_context=3), DRAW)
    unknown = LinearRegression(dim=4, n_context=3, n_distractors=1)
    with pytest.raises(ConfigError, match="does not know E f"):
        compare(ErrorOverContext(), LeastSquares(), Averaging(), unknown, DRAW)
    for fields in ({"n_prompts": 0}, {"n_pairs": -1}):
        with pytest.raises(ValueError, match="must be >="):
            ErrorOverContext(**fields)
