"""A model whose error after every pass is known."""

import pytest
import torch

from icl.algorithms.least_squares import LeastSquares
from icl.comparisons.loops_beyond_training import LoopsBeyondTraining
from icl.config import ConfigError
from icl.core import Prompt, every_prefix
from icl.rng import Draw
from icl.tasks.linear_regression import LinearRegression

TASK = LinearRegression(dim=2, n_context=4)


class Halving:
    """After k passes (1 − 2^−k) of what least squares says, exact at the query: an error of 4^−k y²."""

    n_passes = 2

    def passes(self, x, y, n):
        exact = every_prefix(LeastSquares(), x, y)[-1]
        return torch.stack([(1 - 0.5**k) * exact for k in range(1, n + 1)])


def measured(model, n_prompts=2000):
    draw = Draw([0], "loops", dtype=torch.float64)
    return LoopsBeyondTraining(n_prompts=n_prompts).measure(model, LeastSquares(), TASK, draw)


def test_ratios_are_those_of_the_errors():
    found = measured(Halving())
    for multiple in (2, 3, 4):
        assert found.numbers[f"ratio_{multiple}"].item() == pytest.approx(4.0 ** (2 - 2 * multiple), rel=1e-6)
    low, high = found.intervals["mse_per_dim"][0].tolist()
    assert low < 4.0**-2 < high
    assert found.numbers["reference_mse_per_dim"].item() < 1e-12


def test_curves_have_every_pass_and_every_position():
    found = measured(Halving(), n_prompts=500)
    passes, positions = found.curves["passes"], found.curves["positions"]
    assert list(passes.x) == [float(k) for k in range(1, 9)]
    assert passes.model[0][1] == pytest.approx(found.numbers["mse_per_dim"].item())
    assert positions.model[0][-1] == pytest.approx(found.numbers["mse_per_dim"].item())
    assert positions.model[0][0] == positions.reference[0][0] == pytest.approx(1, abs=0.3)  # no pairs: the guess is 0


def test_a_model_without_passes_is_refused():
    with pytest.raises(ConfigError, match="has no layers to apply again"):
        measured(LeastSquares())


def test_no_prompts_are_refused():
    with pytest.raises(ValueError, match="n_prompts=0 must be >= 1"):
        LoopsBeyondTraining(n_prompts=0)


def test_a_prompt_has_its_query_last():
    prompt = TASK.sample(3, Draw([0], "q")).prompt
    x, y = prompt.positions()
    assert torch.equal(Prompt(x[:, :, :-1], y[:, :, :-1], x[:, :, -1]).x_query, prompt.x_query)
    assert not y[:, :, -1].any()
