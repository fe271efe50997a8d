"""Losses away from the training distribution against the closed form of a fixed step."""

import dataclasses

import pytest
import torch

from bilinear import Bilinear
from icl.comparisons.out_of_distribution import OutOfDistribution
from icl.comparisons.walk import compare
from icl.tasks.linear_regression import LinearRegression
from icl.theory.one_step import uniform_mse
from tolerances import EXACT

TASK = LinearRegression(dim=4, n_context=6, inputs="uniform", input_scale=1.5, weight_scale=0.5)
ETA = TASK.best_step_size() / TASK.n_context


def step(*sizes):
    return Bilinear(torch.stack([size * torch.eye(4, dtype=torch.float64) for size in sizes]))


@pytest.fixture
def measured(draw):
    comparison = OutOfDistribution(n_prompts=20_000, input_scales=[0.5, 1, 2], weight_scales=(1, 3))
    return compare(comparison, step(ETA, 1.1 * ETA), step(ETA), TASK, draw)


def test_curves_are_the_closed_form_of_a_step_that_stays(measured):
    curve = measured.curves["input_scale"]
    assert curve.x == [0.5, 1, 2]
    for alpha, loss in zip(curve.x, curve.reference[0], strict=True):
        exact = uniform_mse(ETA, input_range=1.5 * alpha, n_context=6, dim=4, w_std=0.5) / 2
        assert loss == pytest.approx(exact, rel=0.06)


def test_weight_scale_multiplies_the_loss_by_its_square_exactly(measured):
    curve = measured.curves["weight_scale"]
    for row in (*curve.model, *curve.reference):
        assert row[1] == pytest.approx(9 * row[0], rel=1e-12)


def test_worst_ratio_is_the_largest_deviation_on_the_curve(measured):
    for axis in ("input", "weight"):
        curve = measured.curves[f"{axis}_scale"]
        model, reference = torch.tensor(curve.model).double(), torch.tensor(curve.reference).double()
        worst = (model / reference - 1).abs().amax(1)
        torch.testing.assert_close(measured.numbers[f"worst_ratio_{axis}"], worst, rtol=1e-5, atol=1e-6)
    assert measured.numbers["worst_ratio_input"][0] == 0
    exact = [uniform_mse(s * ETA, input_range=3.0, n_context=6, dim=4, w_std=0.5) for s in (1.1, 1.0)]
    low, high = measured.intervals["worst_ratio_input"][1].tolist()
    assert low < exact[0] / exact[1] - 1 < high


def test_alpha_multiplies_the_trained_scale(draw):
    """α = 2 on a task of range 0.75 is α = 1 on one of 1.5, prompt by prompt."""
    half = dataclasses.replace(TASK, input_scale=0.75)
    a = compare(OutOfDistribution(n_prompts=90, input_scales=[2]), step(0.1), step(0.2), half, draw)
    b = compare(OutOfDistribution(n_prompts=90, input_scales=[1]), step(0.1), step(0.2), TASK, draw)
    torch.testing.assert_close(a.numbers["worst_ratio_input"], b.numbers["worst_ratio_input"], **EXACT)


@pytest.mark.parametrize("field", ["input_scales", "weight_scales"])
@pytest.mark.parametrize("alphas", [[], [0.0], [1.0, -1.0], [float("inf")]])
def test_bad_scales_are_refused(field, alphas):
    with pytest.raises(ValueError, match=f"{field}=.* must be finite numbers > 0"):
        OutOfDistribution(**{field: alphas})
