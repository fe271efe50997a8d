"""Layers as steps, against step matrices on paper and against the prompts that the residual integrates over."""

import pytest
import torch

from icl.algorithms.gradient_descent import GradientDescent
from icl.algorithms.least_squares import LeastSquares
from icl.comparisons.preconditioned_steps import PreconditionedSteps, residual_norms
from icl.comparisons.tied_matrix import covariances
from icl.comparisons.walk import compare
from icl.config import ConfigError
from icl.core import Prompt, last_step
from icl.models.preconditioned_attention import PreconditionedAttention
from icl.tasks.linear_regression import LinearRegression
from icl.tasks.linear_regression_theory import NotKnown
from tolerances import EXACT

SKEWED = LinearRegression(
    dim=3, n_context=12, covariance_spectrum=[1.0, 0.25, 0.5], rotation_seed=1, w_covariance="inverse_covariance"
)
STEPS = PreconditionedSteps(n_prompts=200)


def model_of(matrices, **options):
    """Members and layers with the given step matrices, (M, L, D, D)."""
    model = PreconditionedAttention(
        dim=3, n_layers=matrices.shape[1], n_seeds=len(matrices), dtype=torch.float64, **options
    )
    model.A.data.copy_(-matrices)
    return model


def test_the_best_steps_in_any_order_have_no_excess_no_distance_no_error(draw):
    best = GradientDescent.best_free_for(task=SKEWED, steps=3)
    inverse = torch.linalg.inv(SKEWED.covariance_matrix())
    mixed = torch.stack([best.step_size[l] * inverse for l in (2, 0, 1)])[None]
    measured = compare(STEPS, model_of(mixed), best, SKEWED, draw)
    assert measured.numbers["smallest_step"].item() == pytest.approx(best.step_size[0], rel=1e-10)
    assert measured.numbers["largest_step"].item() == pytest.approx(best.step_size[2], rel=1e-10)
    for name in ("paired_excess", "largest_step_error", "distance_to_identity"):
        assert abs(measured.numbers[name].item()) < 1e-10


def test_errors_and_distances_of_known_matrices(draw):
    task = LinearRegression(dim=3, n_context=12)
    eye = torch.eye(3).double()
    crooked = 0.5 * eye + torch.tensor([[0, 0.3, 0], [0, 0, 0], [0, 0, 0]], dtype=torch.float64)
    model = model_of(torch.stack([torch.stack([1.1 * eye, 0.5 * eye]), torch.stack([eye, crooked])]))
    numbers = compare(STEPS, model, GradientDescent(step_size=[0.5, 1.0], steps=2), task, draw).numbers
    assert numbers["largest_step_error"].tolist() == pytest.approx([0.1, 0], abs=1e-12)
    assert numbers["distance_to_identity"].tolist() == pytest.approx([0, (0.09 / 0.84) ** 0.5], abs=1e-12)
    assert numbers["smallest_step"].tolist() == pytest.approx([0.5, 0.5], abs=1e-12)


@pytest.mark.parametrize("task", [LinearRegression(dim=3, n_context=7, input_scale=1.3), SKEWED])
def test_the_residual_is_the_error_averaged_over_weights_and_query(task, draw):
    """Guesses for every basis vector v of the weights and z of the query, w = T⁻ᵀ v, x_query = T z."""
    T = task.mixing()
    matrices = 0.4 * torch.eye(3).double() + 0.1 * draw.normal(2, 2, 3, 3)[0]
    model, sample = model_of(matrices), task.sample(4, draw)
    errors = torch.zeros(2, 4, dtype=torch.float64)
    for v in torch.eye(3).double():
        for z in torch.eye(3).double():
            w, x_query = torch.linalg.solve(T.mT, v), (T @ z).expand(1, 4, 3)
            guess = last_step(model, Prompt(sample.prompt.x, sample.prompt.x @ w, x_query))
            errors += (guess - v @ z).square().detach()
    own = T.mT @ matrices @ T
    torch.testing.assert_close(residual_norms(own, covariances(sample, T)[0]), errors, **EXACT)


def test_a_tied_stack_is_as_many_equal_steps(draw):
    task = LinearRegression(dim=3, n_context=12)
    model = PreconditionedAttention(dim=3, n_layers=2, tied=True, dtype=torch.float64)
    model.A.data.copy_(-0.7 * torch.eye(3).double())
    numbers = compare(STEPS, model, GradientDescent(step_size=0.7, steps=2), task, draw).numbers
    assert abs(numbers["paired_excess"].item()) < 1e-12
    assert numbers["largest_step_error"].item() < 1e-12


def test_what_is_no_step_is_refused(draw):
    task, matrices = LinearRegression(dim=3, n_context=12), torch.zeros(1, 2, 3, 3).double()
    good = GradientDescent(step_size=0.5, steps=2)
    with pytest.raises(ConfigError, match="x_update=false"):
        compare(STEPS, model_of(matrices, x_update=True), good, task, draw)
    for reference in (LeastSquares(), GradientDescent(step_size=0.5, steps=3)):
        with pytest.raises(ConfigError, match="must be gradient descent of 2 steps"):
            compare(STEPS, model_of(matrices), reference, task, draw)
    with pytest.raises(NotKnown, match="noise_std=0"):
        compare(STEPS, model_of(matrices), good, LinearRegression(dim=3, n_context=5, noise_std=1.0), draw)
    with pytest.raises(ValueError, match="n_prompts=0"):
        PreconditionedSteps(n_prompts=0)
