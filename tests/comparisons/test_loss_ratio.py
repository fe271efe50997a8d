"""The paired loss ratio against the task's own closed forms."""

import pytest
import torch

from bilinear import Bilinear, bank
from icl.comparisons.loss_ratio import LossRatio
from icl.comparisons.walk import compare
from icl.tasks.linear_regression import LinearRegression
from tolerances import EXACT

TASK = LinearRegression(dim=4, n_context=6, noise_std=0.5)


def identity(size):
    return Bilinear(size * torch.eye(4, dtype=torch.float64)[None])


def test_a_predictor_against_itself_is_exactly_one(draw):
    measured = compare(LossRatio(n_prompts=300), bank(draw), bank(draw), TASK, draw)
    assert measured.numbers["loss_ratio"].tolist() == [1, 1, 1]
    assert (measured.intervals["loss_ratio"] == 1).all()


def test_losses_and_their_intervals_hold_the_exact_ones(draw):
    """A twice too large step against the best one, both by closed form."""
    eta = TASK.best_step_size() / TASK.n_context
    draw = draw.at(0, "losses")
    measured = compare(LossRatio(n_prompts=40_000), identity(2 * eta), identity(eta), TASK, draw)
    best, zero = TASK.best_one_step_half_mse(), TASK.zero_half_mse()
    twice = zero  # the loss is a parabola in the step: as far above its minimum at 2 η* as at 0
    for name, exact in (("half_mse", twice), ("reference_half_mse", best), ("loss_ratio", twice / best)):
        low, high = measured.intervals[name][0].tolist()
        assert low < exact < high, name
        assert (high - low) / exact < 0.1, name
    ratio = measured.numbers["half_mse"] / measured.numbers["reference_half_mse"]
    torch.testing.assert_close(measured.numbers["loss_ratio"], ratio, **EXACT)


def test_outputs_of_one_label_are_summed(draw):
    task = LinearRegression(dim=4, n_context=6, n_outputs=3)

    def zero(prompt):
        return torch.zeros(1, *prompt.x_query.shape[:2], 3, dtype=torch.float64)

    measured = compare(LossRatio(n_prompts=20_000), zero, zero, task, draw)
    low, high = measured.intervals["half_mse"][0].tolist()
    assert low < 0.5 * 3 * 4 < high


def test_no_prompts_are_refused():
    with pytest.raises(ValueError, match="n_prompts=0 must be >= 1"):
        LossRatio(n_prompts=0)
