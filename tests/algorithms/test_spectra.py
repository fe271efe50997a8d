"""Best steps of a task against the same problem in its own coordinates, and against the losses of sampled prompts."""

import pytest
import torch

from icl.algorithms import spectra
from icl.algorithms.gradient_descent import GradientDescent
from icl.algorithms.gradient_descent_plus_plus import GradientDescentPlusPlus
from icl.algorithms.spectra import own_basis
from icl.core import Prompt, last_step
from icl.rng import Draw
from icl.tasks.linear_regression import LinearRegression
from icl.tasks.linear_regression_theory import NotKnown
from icl.theory.residual_polynomials import best_free_steps, best_tied_step
from tolerances import EXACT

ISOTROPIC = LinearRegression(dim=3, n_context=9)
SKEWED = LinearRegression(
    dim=3, n_context=9, covariance_spectrum=[1.0, 0.25, 2.0], rotation_seed=3, w_covariance="inverse_covariance",
    weight_scale=2.0, input_scale=1.5,
)  # fmt: skip
VON_OSWALD = LinearRegression(dim=10, n_context=10, inputs="uniform")


def losses(algorithm, task, draw):
    sample = task.sample(40_000, draw)
    return (last_step(algorithm, sample.prompt) - sample.target).square()


@pytest.mark.parametrize("best", [GradientDescent.best_free_for, GradientDescent.best_tied_for])
def test_a_skewed_task_is_the_isotropic_one_in_other_coordinates(best, draw):
    """x = T z and y alike: the guesses are the same."""
    T = SKEWED.mixing()
    z, y, z_query = draw.normal(4, 9, 3), draw.normal(4, 9), draw.normal(4, 3)
    skewed = best(task=SKEWED, steps=3)(Prompt(z @ T.T, y, z_query @ T.T))
    torch.testing.assert_close(skewed, best(task=ISOTROPIC, steps=3)(Prompt(z, y, z_query)), **EXACT)


@pytest.mark.parametrize("task", [ISOTROPIC, SKEWED, LinearRegression(dim=3, n_context=4, inputs="uniform")])
def test_the_loss_on_prompts_is_the_integral_over_the_spectrum(task):
    basis, draw = own_basis(task), Draw([0], "losses", dtype=torch.float64)
    assert basis.variance * task.dim == pytest.approx(2 * task.zero_half_mse(), rel=1e-10)
    for algorithm, per_dim in (
        (GradientDescent.best_free_for(task=task, steps=2), best_free_steps(basis.spectrum, 2).mse_per_dim),
        (GradientDescent.best_tied_for(task=task, steps=2), best_tied_step(basis.spectrum, 2).mse_per_dim),
    ):
        squares = losses(algorithm, task, draw.at(0))
        expected = basis.variance * task.dim * per_dim
        assert abs(squares.mean().item() - expected) < 4 * squares.std().item() / 200 + 0.005 * expected


def test_one_step_is_the_best_one_step_of_the_task():
    for task in (ISOTROPIC, LinearRegression(dim=3, n_context=9, input_scale=2.0)):
        found = GradientDescent.best_tied_for(task=task, steps=1)
        assert found.preconditioner is None
        assert found.step_size == pytest.approx(task.best_step_size(), rel=1e-10)
        assert GradientDescent.best_free_for(task=task, steps=1).step_size == pytest.approx([found.step_size])


@pytest.mark.parametrize(
    "field",
    [{"noise_std": 0.1}, {"target": "relu"}, {"n_distractors": 1}, {"n_active": 2}, {"covariance_spectrum": [1, 2, 3]}],
)
def test_a_task_without_an_answer_says_so(field):
    with pytest.raises(NotKnown, match="the best steps are not known"):
        GradientDescent.best_free_for(task=LinearRegression(dim=3, n_context=9, **field), steps=2)


def test_gd_plus_plus_of_von_oswald():
    """Fitted on 200,000 spectra elsewhere: η 13.494 to 13.503, γ 1.760 to 1.761, half MSE .1105."""
    found = GradientDescentPlusPlus.best_for(task=VON_OSWALD, steps=2)
    assert found.step_size == pytest.approx(13.50, rel=2e-3)
    assert found.curvature_step_size == pytest.approx(1.7605, rel=2e-3)
    squares = losses(found, VON_OSWALD, Draw([1], "losses", dtype=torch.float64))
    assert abs(squares.mean().item() / 2 - 0.1105) < 4 * squares.std().item() / 400


def test_gd_plus_plus_has_no_larger_loss_than_gradient_descent(draw):
    """Untied better than tied better than gradient descent, on the same prompts; inputs of another variance."""
    task = LinearRegression(dim=3, n_context=9, input_scale=2.0)
    untied, tied = (GradientDescentPlusPlus.best_for(task=task, steps=2, tied=tied) for tied in (False, True))
    plain = GradientDescent.best_tied_for(task=task, steps=2)
    means = [losses(algorithm, task, draw.at(0)).mean().item() for algorithm in (untied, tied, plain)]
    assert means == sorted(means)
    assert means[0] < 0.8 * means[2]


def test_gd_plus_plus_refuses_what_it_cannot_fit(monkeypatch):
    with pytest.raises(NotKnown, match="covariance_spectrum=null"):
        GradientDescentPlusPlus.best_for(task=SKEWED)
    monkeypatch.setattr(spectra, "N_SAMPLED", 5)
    with pytest.raises(RuntimeError, match="% off on fresh ones"):
        GradientDescentPlusPlus.best_for(task=VON_OSWALD)
