"""Looping on: against the model's own trajectory, the exact table of depths, and a step that is too large."""

import pytest
import torch
from looped import DRAW, PLAIN, SKEWED, looped

from icl.algorithms.gradient_descent import GradientDescent
from icl.algorithms.spectra import own_basis
from icl.comparisons.looped_on import LoopedOn, exact_mse, squared_errors
from icl.comparisons.tied_matrix import covariances, own_matrix
from icl.comparisons.walk import compare
from icl.theory.residual_polynomials import polynomial_mse_per_dim, residual_coefficients
from icl.theory.rotation_fits import planes
from icl.theory.stability import UnstableSteps
from tolerances import EXACT

BY_DEPTH = {  # exact mse at d = 5, n = 20 after 1..8 steps of a size
    0.7425: [1.1585, 0.4990, 0.2738, 0.1878, 0.1773, 0.2568, 0.5564, 1.611],
    0.689: [1.1957, 0.5179, 0.2728, 0.1633, 0.1127, 0.0989, 0.1288, 0.2612],
}


@pytest.mark.parametrize(("step_size", "expected"), BY_DEPTH.items())
def test_the_exact_table_of_depths(step_size, expected):
    found = exact_mse(torch.tensor([step_size]), own_basis(PLAIN), 8)[:, 0]
    assert found.tolist() == pytest.approx(expected, rel=1e-3)
    by_moments = [5 * polynomial_mse_per_dim(residual_coefficients([step_size] * t), 20, 5) for t in range(1, 9)]
    assert found.tolist() == pytest.approx(by_moments, rel=1e-6)


@pytest.mark.parametrize("task", [PLAIN, SKEWED], ids=["plain", "skewed"])
def test_the_errors_are_those_of_the_model_looped_on(task, draw):
    A = planes(0.6, 0.3, 0.5, 5) + 0.05 * draw.normal(5, 5)[0]
    model, sample = looped([A, 0.5 * A], task, n_loops=2), task.sample(5, draw)
    S = covariances(sample, task.mixing())[0]
    found = squared_errors(own_matrix(model, task), sample, S, task.mixing(), 7)
    expected = (model(sample.prompt, steps=7)[1:] - sample.target).square()
    torch.testing.assert_close(found, expected, **EXACT)


def measured(step_size: float, n_prompts: int = 20_000, **options):
    model = looped([planes(step_size, 0.0, step_size, 5)], PLAIN, n_loops=2).requires_grad_(False)
    reference = GradientDescent.best_tied_for(task=PLAIN, steps=2)
    return compare(LoopedOn(n_prompts=n_prompts, **options), model, reference, PLAIN, DRAW)


def test_the_numbers_of_the_best_scalar():
    with pytest.warns(UnstableSteps, match="the layer looped beyond its 2 loops diverges on"):
        found = measured(0.7425)
    numbers = {name: value.item() for name, value in found.numbers.items()}
    assert (numbers["mse_trained"], numbers["mse_1"], numbers["mse_2"]) == pytest.approx(
        (0.4990, 0.2738, 0.1878), abs=1e-4
    )
    assert numbers["ratio_1"] == pytest.approx(0.2738 / 0.4990, rel=1e-3)
    assert numbers["ratio_2"] == pytest.approx(0.1878 / 0.4990, rel=1e-3)
    assert numbers["least_mean_depth"] == 2.5  # of 2 loops: after 5
    assert 0 < numbers["median_ratio_worst"] < 1
    mean, median = found.curves["mean"], found.curves["median"]
    assert len(mean.x) == len(mean.model[0]) == 10
    assert mean.model[0][-1] > mean.model[0][3]
    assert median.model[0][-1] < median.model[0][3]
    torch.testing.assert_close(torch.tensor(mean.model[0][:3]), torch.tensor(mean.reference[0][:3]), rtol=1e-3, atol=0)


def test_a_small_step_is_stable_and_is_no_warning():
    found = measured(0.3, 2000).numbers
    assert found["unstable_share"] == 0
    assert found["median_ratio_worst"] < 1


def test_a_step_far_outside_stability_raises_the_median_too():
    with pytest.warns(UnstableSteps):
        assert measured(1.6, 2000).numbers["median_ratio_worst"] > 1


@pytest.mark.parametrize("options", [{"times": 0}, {"n_prompts": 0}])
def test_zero_loops_or_prompts_are_refused(options):
    with pytest.raises(ValueError, match=r"must be >= 1"):
        LoopedOn(**options)
