"""The exact numbers of a layer against sampled ones, and against closed forms at gradient steps."""

import math

import pytest
import torch

from icl.algorithms.gradient_descent import GradientDescent
from icl.comparisons.exact_loss_ratio import ExactLossRatio
from icl.comparisons.loss_ratio import LossRatio
from icl.comparisons.walk import compare
from icl.constructions.linear_attention_as_gd import linear_attention_as_gd
from icl.models.linear_attention import LinearAttention
from icl.tasks.linear_regression import LinearRegression
from icl.theory.one_step import iid_mse
from tolerances import EXACT

ISOTROPIC = LinearRegression(dim=3, n_context=5, noise_std=0.3)
SKEWED = LinearRegression(dim=3, n_context=5, noise_std=0.3, covariance_spectrum=[1.0, 0.5, 0.2], rotation_seed=1)


def layer(n_seeds=1, normalize=False, **step):
    model = LinearAttention(dim=3, normalize=normalize, n_seeds=n_seeds, dtype=torch.float64)
    state = linear_attention_as_gd(dim=3, n_context=5, normalize=normalize, **step)
    model.load_state_dict({name: weight.expand(n_seeds, *weight.shape[1:]) for name, weight in state.items()})
    return model


def exact(model, task, draw):
    measured = compare(ExactLossRatio(), model, None, task, draw)
    assert measured.n_prompts == 0
    return {name: value.tolist() for name, value in measured.numbers.items()}


@pytest.mark.parametrize("normalize", [False, True])
def test_the_best_step_is_one(normalize, draw):
    model = layer(normalize=normalize, step_size=ISOTROPIC.best_step_size())
    numbers = exact(model, ISOTROPIC, draw)
    assert numbers["loss_ratio"] == pytest.approx([1], rel=1e-12)
    assert numbers["half_mse"] == pytest.approx([ISOTROPIC.best_one_step_half_mse()], rel=1e-12)
    assert numbers["preconditioner_error"] == pytest.approx([0], abs=1e-12)
    assert numbers["step_size"] == pytest.approx([ISOTROPIC.best_step_size()], rel=1e-12)
    assert numbers["step_size_ratio"] == pytest.approx([1], rel=1e-12)


def test_another_step_has_its_closed_form(draw):
    numbers = exact(layer(step_size=1.2 * ISOTROPIC.best_step_size()), ISOTROPIC, draw)
    loss = iid_mse(1.2 * ISOTROPIC.best_step_size() / 5, n_context=5, dim=3, noise_std=0.3) / 2
    assert numbers["half_mse"] == pytest.approx([loss], rel=1e-12)
    assert numbers["loss_ratio"] == pytest.approx([loss / ISOTROPIC.best_one_step_half_mse()], rel=1e-12)
    assert numbers["preconditioner_error"] == pytest.approx([0.2], rel=1e-12)
    assert numbers["step_size_ratio"] == pytest.approx([1.2], rel=1e-12)


def test_the_best_preconditioner_is_one(draw):
    model = layer(step_size=1.0, preconditioner=5 * SKEWED.best_preconditioner())
    numbers = exact(model, SKEWED, draw)
    assert numbers["loss_ratio"] == pytest.approx([1], rel=1e-10)
    assert numbers["preconditioner_error"] == pytest.approx([0], abs=1e-12)


@pytest.mark.parametrize("task", [ISOTROPIC, SKEWED], ids=["isotropic", "skewed"])
def test_any_weights_agree_with_sampled_prompts(task, draw):
    model = layer(n_seeds=3, step_size=0.5)
    for weight in model.parameters():
        weight.data += 0.1 * draw.normal(*weight.shape)[0]
    gamma = 5 * task.best_preconditioner()
    best = GradientDescent(step_size=1.0, preconditioner=gamma)
    sampled = compare(LossRatio(n_prompts=40_000), model, best, task, draw.at(0, "sampled"))
    numbers = exact(model, task, draw)
    for name in ("half_mse", "loss_ratio"):
        low, high = sampled.intervals[name].T
        value = torch.tensor(numbers[name], dtype=torch.float64)
        margin = 0.5 * (high - low)  # three members and two numbers: four standard errors, not two
        assert (low - margin < value).all(), name
        assert (value < high + margin).all(), name
    learned = torch.stack([model.preconditioner()[m] for m in range(3)]).detach()
    error = (5 * learned - gamma).flatten(1).norm(dim=1) / gamma.norm()
    torch.testing.assert_close(torch.tensor(numbers["preconditioner_error"], dtype=torch.float64), error, **EXACT)


def test_what_has_no_closed_form_is_nan(draw):
    relu = LinearRegression(dim=3, n_context=5, target="relu")
    numbers = exact(layer(step_size=relu.best_step_size()), relu, draw)
    assert math.isnan(numbers["loss_ratio"][0])
    assert math.isnan(numbers["half_mse"][0])
    assert numbers["step_size_ratio"] == pytest.approx([1], rel=1e-12)
    assert numbers["preconditioner_error"] == pytest.approx([0], abs=1e-12)
    quadratic = LinearRegression(dim=3, n_context=5, target="quadratic")
    numbers = exact(layer(n_seeds=2, step_size=0.1), quadratic, draw)
    assert numbers["step_size"] == pytest.approx([0.1, 0.1], rel=1e-12)
    assert all(math.isnan(v) for name in ("step_size_ratio", "preconditioner_error") for v in numbers[name])
    distracted = LinearRegression(dim=3, n_context=5, n_distractors=1)
    numbers = exact(layer(step_size=0.1), distracted, draw)
    assert all(math.isnan(value[0]) for name, value in numbers.items() if name != "step_size")


def test_a_deep_model_is_refused(draw):
    for model in (
        LinearAttention(dim=3, n_layers=2, dtype=torch.float64),
        LinearAttention(dim=3, n_layers=3, tied=True, dtype=torch.float64),
        layer(step_size=0.1, w_init=torch.ones(3)),
    ):
        with pytest.raises(ValueError, match="is not one layer of linear attention"):
            compare(ExactLossRatio(), model, None, ISOTROPIC, draw)
