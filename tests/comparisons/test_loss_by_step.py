"""Losses by step against the plain loop, the task's exact errors, and refused shifts."""

import math

import pytest
import torch

from icl.algorithms.gradient_descent import GradientDescent
from icl.algorithms.least_squares import LeastSquares
from icl.comparisons.loss_by_step import LossByStep
from icl.comparisons.walk import compare
from icl.config import ConfigError
from icl.constructions.chain_of_thought_as_gd import chain_of_thought_as_gd
from icl.models.chain_of_thought import ChainOfThought
from icl.rng import Draw
from icl.tasks.weight_prediction import WeightPrediction
from icl.theory.stability import UnstableSteps

TASK = WeightPrediction(dim=3, n_context=9)
GD = GradientDescent(step_size=0.4, steps=10, returns="weights")


def measured(model, reference=GD, **fields):
    return compare(LossByStep(n_prompts=2000, **fields), model, reference, TASK, Draw([0], "c", dtype=torch.float64))


def thinking(*step_sizes):
    """A bank of constructions."""
    model = ChainOfThought(dim=3, n_seeds=len(step_sizes), dtype=torch.float64)
    states = [chain_of_thought_as_gd(dim=3, step_size=eta) for eta in step_sizes]
    model.load_state_dict({name: torch.cat([state[name] for state in states]) for name in ("V", "W")})
    return model


def test_the_construction_is_the_reference_at_every_step_and_another_step_is_not():
    numbers = measured(thinking(0.4, 0.3)).numbers
    for k in (1, 5, 10, 20, 40):
        for name in ("mean_ratio", "median_ratio"):
            assert numbers[f"{name}_{k}"][0].item() == pytest.approx(1, abs=1e-9)
            assert numbers[f"{name}_{k}"][1].item() > 1.1
    assert numbers["early_mean_ratio_worst"][0] < 1e-9
    worst = max((numbers[f"mean_ratio_{k}"][1] - 1).item() for k in (1, 5, 10))
    assert numbers["early_mean_ratio_worst"][1] >= worst


def test_means_are_those_of_the_task():
    found = measured(thinking(0.4))
    for k in (1, 5):
        low, high = found.intervals[f"mean_{k}"][0]
        assert low - (high - low) < TASK.gradient_descent_half_mse(0.4, k) < high + (high - low)
    ratio = found.numbers["one_step_ratio_5"] * TASK.best_one_step_half_mse()
    torch.testing.assert_close(ratio, found.numbers["mean_5"])


def test_a_shift_is_another_task_and_the_unstable_share_its_own():
    shifted = measured(thinking(0.4), shift={"input_scale": 1.8}).numbers
    other = WeightPrediction(dim=3, n_context=9, input_scale=1.8)
    share = other.unstable_share(0.4)
    assert abs(shifted["unstable_share"].item() - share) < 4 * math.sqrt(share * (1 - share) / 2000)
    assert measured(thinking(0.4)).numbers["unstable_share"].item() < share
    with pytest.raises(ConfigError, match=r"shift=.*colour.* does not fit WeightPrediction"):
        measured(thinking(0.4), shift={"colour": 2})


def test_a_step_size_outside_stability_is_warned_of_with_its_share():
    reference = GradientDescent(step_size=1.2, returns="weights")
    with pytest.warns(UnstableSteps, match=r"step_size=1.2 diverges on [\d.]+ % of the tasks"):
        measured(thinking(1.2), reference)


def test_curves_show_median_mean_and_band():
    curves = measured(thinking(0.4, 0.3), band=True).curves
    assert set(curves) == {"median", "mean", "lowest_tenth", "highest_tenth"}
    for low, middle, high in zip(*(curves[n].model[0] for n in ("lowest_tenth", "median", "highest_tenth"))):
        assert low < middle < high
    assert len(curves["mean"].x) == len(curves["mean"].model[1]) == 40


def test_a_reference_without_a_constant_step_has_no_unstable_share():
    free = GradientDescent(step_size=[0.4] * 40, steps=10, returns="weights")
    numbers = measured(thinking(0.4), free).numbers
    assert numbers["unstable_share"].isnan().all()
    assert numbers["mean_ratio_40"].item() == pytest.approx(1, abs=1e-9)
    with pytest.raises(ValueError, match="steps=40"):
        measured(thinking(0.4), LeastSquares())
