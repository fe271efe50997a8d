"""The best constants of GD++: stationary, against a fine grid, against exact moments, and the minimum of the source."""

import pytest
import torch

from icl.theory.plus_plus_steps import best_plus_plus_steps, loss_of, thinned
from icl.theory.residual_polynomials import (
    best_free_steps,
    best_tied_step,
    polynomial_mse_per_dim,
    residual_coefficients,
)
from icl.theory.spectrum import sampled_spectrum, wishart_spectrum

SPECTRUM = wishart_spectrum(20, 5)


def test_the_tied_fit_beats_a_fine_grid():
    best = loss_of(best_plus_plus_steps(SPECTRUM, 2), SPECTRUM).item()
    eta, gamma = torch.meshgrid(torch.linspace(0.5, 3, 60), torch.linspace(0, 0.6, 60), indexing="ij")
    lam, weights = SPECTRUM.eigenvalues, SPECTRUM.weights
    q = 1 - gamma.double()[..., None] * lam
    p = (1 - eta.double()[..., None] * lam) * (1 - eta.double()[..., None] * lam * q**2)
    assert best <= (p.square() @ weights).min().item()
    assert best == pytest.approx((p.square() @ weights).min().item(), rel=0.01)


@pytest.mark.parametrize("tied", [True, False])
def test_no_constant_can_be_moved_for_a_smaller_loss(tied):
    constants = best_plus_plus_steps(SPECTRUM, 2, tied=tied).requires_grad_()
    gradient = torch.autograd.grad(loss_of(constants, SPECTRUM).log(), constants)[0]
    assert (gradient.sum(1) if tied else gradient).abs().max() < 1e-5


def test_the_untied_optimum_by_exact_moments():
    """A polynomial in exact moments shares nothing with the spectrum on which it was fitted."""
    eta, gamma = best_plus_plus_steps(SPECTRUM, 2, tied=False).tolist()
    exact = 5 * polynomial_mse_per_dim(residual_coefficients(eta, gamma), 20, 5)
    assert exact == pytest.approx(0.0575012, rel=1e-5)
    assert gamma[-1] == 0
    assert exact < 5 * best_free_steps(SPECTRUM, 2).mse_per_dim


def test_the_published_three_layers_are_a_minimum_that_is_not_the_best():
    """Ahn et al.: A = -0.71, -2.65, -7.11 (I), B_0 = 0.34 I: mse 1.0e-3 to 1.3e-3; here 1.2985e-3 at its bottom."""
    eta, gamma = [0.716588, 2.648727, 7.163206], [0.2444847, 0.9128079, 0.0]
    constants = torch.tensor([eta, gamma], dtype=torch.float64, requires_grad=True)
    loss = 5 * loss_of(constants, SPECTRUM)
    assert loss.item() == pytest.approx(1.2985e-3, rel=1e-3)
    assert torch.autograd.grad(loss.log(), constants)[0].abs().max() < 2e-3
    best = 5 * loss_of(best_plus_plus_steps(SPECTRUM, 3, tied=False), SPECTRUM).item()
    assert best == pytest.approx(0.74 * loss.item(), rel=0.01)


def test_one_layer_is_one_step():
    constants = best_plus_plus_steps(SPECTRUM, 1)
    assert constants[0, 0].item() == pytest.approx(best_tied_step(SPECTRUM, 1).step_size, rel=1e-6)


def test_thinning_keeps_the_measure(draw):
    spectrum = sampled_spectrum(draw.normal(3000, 6, 3)[0])
    thin = thinned(spectrum)
    assert len(thin.eigenvalues) <= 2000
    assert thin.weights.sum().item() == pytest.approx(1, rel=1e-12)
    for power, within in ((1, 1e-12), (2, 1e-4), (4, 1e-2)):
        expected = spectrum.mean(spectrum.eigenvalues**power).item()
        assert thin.mean(thin.eigenvalues**power).item() == pytest.approx(expected, rel=within)
    assert thinned(SPECTRUM) is SPECTRUM
