"""Closed-form losses against the estimators themselves on sampled prompts, and against each other."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from icl.rng import Draw
from icl.theory.baselines import (
    averaging_mse,
    bayes_mse,
    bayes_mse_given_inputs,
    bayes_mse_monte_carlo,
    least_squares_mse,
    one_step_mse,
    ridge_mse,
    zero_predictor_mse,
)

SIZES = [(8, 4, 0.0), (8, 4, 0.6), (3, 6, 0.6), (5, 5, 0.6), (3, 6, 0.0)]


@pytest.mark.parametrize(("n", "d", "noise_std"), SIZES)
def test_estimators_reach_their_closed_forms(n, d, noise_std, draw):
    b = 20_000
    x, w = draw.normal(b, n, d)[0], draw.normal(b, d)[0]
    y = (x @ w[..., None])[..., 0] + noise_std * draw.normal(b, n)[0]
    g, gram = (x.mT @ y[..., None])[..., 0], x.mT @ x
    eye = torch.eye(d, dtype=x.dtype)

    def ridge(mu):
        return torch.linalg.solve(gram + mu * eye, g)

    cases = {
        zero_predictor_mse(d): 0 * g,
        averaging_mse(n, d, noise_std): g / n,
        one_step_mse(n, d, noise_std): g / (n + d + 1 + noise_std**2),
        ridge_mse(n, d, noise_std, ridge=0.8): ridge(0.8),
    }
    if noise_std:
        cases[bayes_mse(n, d, noise_std)] = ridge(noise_std**2)
    if noise_std == 0 or abs(n - d) > 2:
        cases[least_squares_mse(n, d, noise_std)] = (torch.linalg.pinv(x) @ y[..., None])[..., 0]
    for exact, w_hat in cases.items():
        error = (w - w_hat).square().sum(-1)
        assert abs(error.mean() - exact) < 4 * error.std() / b**0.5 + 1e-9


@given(n=st.integers(1, 30), d=st.integers(1, 30), noise_std=st.floats(0, 2))
@settings(max_examples=25, deadline=None)
def test_every_baseline_is_at_least_the_bayes_risk(n, d, noise_std):
    bayes = bayes_mse(n, d, noise_std)
    others = [zero_predictor_mse(d), one_step_mse(n, d, noise_std), least_squares_mse(n, d, noise_std)]
    others += [ridge_mse(n, d, noise_std, ridge=mu) for mu in (0.01, 10.0)]
    assert 0 <= bayes <= min(others) * (1 + 1e-9)
    assert one_step_mse(n, d, noise_std) <= averaging_mse(n, d, noise_std)


@given(n=st.integers(0, 60), d=st.integers(1, 30))
@settings(max_examples=25, deadline=None)
def test_the_short_forms(n, d):
    assert least_squares_mse(n, d) / d == pytest.approx(max(0.0, 1 - n / d))
    if n > d + 1:
        assert least_squares_mse(n, d, 0.5) == pytest.approx(0.25 * d / (n - d - 1))
    if n > 0:
        assert averaging_mse(n, d) / d == pytest.approx((d + 1) / n)
        assert one_step_mse(n, d) / d == pytest.approx((d + 1) / (n + d + 1))


def test_limits_of_ridge():
    assert ridge_mse(12, 5, 0.7, ridge=1e-9) == pytest.approx(least_squares_mse(12, 5, 0.7), rel=1e-7)
    assert ridge_mse(5, 12, 0.7, ridge=1e-9) == pytest.approx(least_squares_mse(5, 12, 0.7), rel=1e-7)
    assert ridge_mse(12, 5, 0.7, ridge=0) == least_squares_mse(12, 5, 0.7)
    assert ridge_mse(12, 5, 0.7, ridge=1e9) == pytest.approx(5, rel=1e-7)
    assert bayes_mse(5, 12, 1e-5) == pytest.approx(bayes_mse(5, 12), rel=1e-8)
    assert least_squares_mse(5, 5, 0.1) == least_squares_mse(6, 5, 0.1) == math.inf
    assert least_squares_mse(0, 5, 0.1) == bayes_mse(0, 5, 0.1) == 5
    assert least_squares_mse(0, 1, 0.1) == 1
    assert least_squares_mse(1, 5, 0.5) == pytest.approx(4 + 0.25 / 3)


@pytest.mark.parametrize("noise_std", [1.0, 0.1, 1e-2, 1e-3])
def test_the_bayes_risk_of_one_pair_in_one_dimension(noise_std):
    """E σ²/(x² + σ²) = σ √(π/2) exp(σ²/2) erfc(σ/√2): small noise needs the density near zero."""
    s = noise_std
    exact = s * math.sqrt(math.pi / 2) * math.exp(s * s / 2) * math.erfc(s / math.sqrt(2))
    assert bayes_mse(1, 1, s) == pytest.approx(exact, rel=1e-10)


def test_the_sampled_bayes_risk_covers_the_exact_one(draw):
    """Λ = Σ⁻¹ is the isotropic problem; and scaling inputs and weights scales the loss as documented."""
    n, d, noise_std = 6, 4, 0.5
    root = draw.normal(d, d)[0]
    covariance = root @ root.T + 0.1 * torch.eye(d, dtype=root.dtype)
    mse, error = bayes_mse_monte_carlo(
        draw,
        n_context=n,
        covariance=covariance,
        w_covariance=torch.linalg.inv(covariance),
        noise_std=noise_std,
    )
    assert error < 0.01 * mse
    assert abs(mse - bayes_mse(n, d, noise_std)) < 4 * error
    scaled = {
        "covariance": 0.3 * torch.eye(d, dtype=root.dtype),
        "w_covariance": 4 * torch.eye(d, dtype=root.dtype),
    }
    mse, error = bayes_mse_monte_carlo(draw, n_context=n, noise_std=noise_std, **scaled)
    assert abs(mse - 1.2 * bayes_mse(n, d, noise_std / 1.2**0.5)) < 4 * error


def test_the_bayes_risk_of_one_context_is_the_posterior_variance():
    draw = Draw([3], "test", dtype=torch.float64)
    x, a, b = draw.normal(5, 3)[0], draw.normal(3, 3)[0], draw.normal(3, 3)[0]
    covariance, w_covariance = a @ a.T, b @ b.T
    posterior = torch.linalg.inv(torch.linalg.inv(w_covariance) + x.T @ x / 0.49)
    found = bayes_mse_given_inputs(x, covariance=covariance, w_covariance=w_covariance, noise_std=0.7)
    assert found.item() == pytest.approx((covariance @ posterior).trace().item(), rel=1e-9)
