"""Weight prediction against linear regression's prompts, and its own answers."""

import math

import pytest
import torch

from icl.algorithms.gradient_descent import GradientDescent
from icl.core import last_step
from icl.rng import Draw
from icl.tasks.linear_regression import LinearRegression
from icl.tasks.linear_regression_theory import NotKnown
from icl.tasks.weight_prediction import WeightPrediction

UNEVEN = {"covariance_spectrum": [1.0, 0.25, 0.5], "rotation_seed": 3}
FIELDS = [{}, {"input_scale": 0.7, "weight_scale": 2.0}, UNEVEN]


def task_of(**fields):
    return WeightPrediction(dim=3, n_context=6, **fields)


def half_squared_error(predictor, task, n=40_000):
    sample = task.sample(n, Draw([0], "law", dtype=torch.float64))
    return 0.5 * (last_step(predictor, sample.prompt) - sample.target).square().sum(-1)[0]


@pytest.mark.parametrize("fields", FIELDS)
def test_the_prompts_are_those_of_linear_regression_and_the_answer_explains_them(fields):
    sample = task_of(**fields).sample(50, Draw([0, 1], "t", dtype=torch.float64))
    other = LinearRegression(dim=3, n_context=6, **fields).sample(50, Draw([0, 1], "t", dtype=torch.float64))
    assert torch.equal(sample.prompt.x, other.prompt.x)
    assert torch.equal(sample.prompt.y, other.prompt.y)
    torch.testing.assert_close(torch.einsum("mbnd,mbd->mbn", sample.prompt.x, sample.target), sample.prompt.y)


@pytest.mark.parametrize("fields", FIELDS)
def test_the_best_step_reaches_its_loss_and_nothing_nearby_does_better(fields):
    task = task_of(**fields)
    best = GradientDescent.best_preconditioned_for(task=task)
    loss = half_squared_error(best, task)
    assert abs(loss.mean() - task.best_one_step_half_mse()) < 4 * loss.std() / len(loss) ** 0.5
    for factor in (0.9, 1.1):
        other = GradientDescent(step_size=factor, preconditioner=best.preconditioner, returns="weights")
        assert half_squared_error(other, task).mean() > loss.mean()


@pytest.mark.parametrize("fields", FIELDS[:2])
@pytest.mark.parametrize("steps", [0, 1, 3])
def test_the_error_of_gradient_descent_is_the_sampled_one(fields, steps):
    task = task_of(**fields)
    loss = half_squared_error(GradientDescent(step_size=0.3, steps=steps, returns="weights"), task)
    assert abs(loss.mean() - task.gradient_descent_half_mse(0.3, steps)) < 4 * loss.std() / len(loss) ** 0.5


def test_numbers_of_the_recipe():
    task = WeightPrediction(dim=10, n_context=20)
    assert task.best_one_step_half_mse() == pytest.approx(1.7742, abs=5e-5)
    assert task.best_step_size() == pytest.approx(20 / 31)
    ratio = task.gradient_descent_half_mse(0.4, 10) / task.best_one_step_half_mse()
    assert ratio == pytest.approx(0.1519, abs=1e-4)
    assert task.known_half_mse() == {"zero": 5.0, "best_one_step": task.best_one_step_half_mse(), "bayes": 0.0}


def test_a_larger_step_or_input_leaves_more_tasks_unstable():
    task = WeightPrediction(dim=10, n_context=20)
    shares = [task.unstable_share(step_size, n_prompts=20_000) for step_size in (0.4, 0.5, 0.6)]
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[2] == pytest.approx(0.0167, abs=0.003)
    larger = WeightPrediction(dim=10, n_context=20, input_scale=math.sqrt(1.5))  # η v is what counts
    assert larger.unstable_share(0.4, n_prompts=20_000) == shares[2]


def test_what_is_not_known_says_what_it_needs():
    for answer in (
        lambda: task_of(**UNEVEN).gradient_descent_half_mse(0.1, 2),
        WeightPrediction(dim=3, n_context=2, covariance_spectrum=[1.0, 2.0, 3.0]).bayes_half_mse,
        task_of(**UNEVEN).best_step_size,
    ):
        with pytest.raises(NotKnown):
            answer()
    assert WeightPrediction(dim=3, n_context=2).bayes_half_mse() == 0.5


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"n_context": 0}, "n_context=0"), ({"input_scale": -1.0}, "input_scale=-1.0"),
     ({"covariance_spectrum": [1.0]}, "dim=3")],
)  # fmt: skip
def test_impossible_values_are_refused_in_one_line(fields, message):
    with pytest.raises(ValueError, match=message) as error:
        WeightPrediction(**({"dim": 3, "n_context": 5} | fields))
    assert "\n" not in str(error.value)
