"""One-layer optima against exact enumeration, sampled nonlinear targets, and numbers of the literature."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from enumeration import every_prompt
from icl.theory.one_step import (
    iid_mse,
    iid_optimum,
    nonlinear_mse,
    nonlinear_optimum,
    optimal_preconditioner,
    preconditioned_mse,
    preconditioned_optimum_mse,
    quadratic_optimum,
    relu_optimum,
    uniform_mse,
)
from tolerances import EXACT


def enumerated_mse(gamma, n_context, *, mixing, w_root, noise_std, kurtosis):
    """E (ŷ − ⟨w, x_q⟩)² of ŷ = x_qᵀ Γ Σ yx, every prompt visited."""
    x, y, w, probability = every_prompt(n_context, mixing=mixing, w_root=w_root, noise_std=noise_std, kurtosis=kurtosis)
    error = torch.einsum("ij,bnj,bn->bi", gamma, x, y) - w
    return torch.einsum("b,bi,ij,bj->", probability, error, mixing @ mixing.T, error)


@pytest.mark.parametrize("kurtosis", [1.0, 1.8, 3.0, 6.0])
@pytest.mark.parametrize("noise_std", [0.0, 0.7])
def test_iid_loss_is_the_enumerated_one(kurtosis, noise_std):
    eye = torch.eye(2, dtype=torch.float64)
    law = {"noise_std": noise_std, "kurtosis": kurtosis}
    exact = iid_mse(0.2, n_context=2, dim=2, x_variance=0.3, w_std=1.7, **law)
    found = enumerated_mse(0.2 * eye, 2, mixing=math.sqrt(0.3) * eye, w_root=1.7 * eye, **law)
    assert exact == pytest.approx(found.item(), rel=1e-12)


@given(
    n=st.integers(1, 50),
    d=st.integers(1, 50),
    v=st.floats(0.05, 4),
    kurtosis=st.floats(1, 9),
    w_std=st.floats(0.2, 3),
    noise_std=st.floats(0, 2),
    off=st.floats(-0.5, 0.5),
)
@settings(max_examples=25, deadline=None)
def test_iid_optimum_is_the_minimum(n, d, v, kurtosis, w_std, noise_std, off):
    law = {"n_context": n, "dim": d, "x_variance": v}
    law |= {"kurtosis": kurtosis, "w_std": w_std, "noise_std": noise_std}
    best = iid_optimum(**law)
    assert best.mse == pytest.approx(iid_mse(best.step_size, **law), rel=1e-9)
    curvature = d * v * w_std**2 * n * v / best.step_size
    excess = iid_mse(best.step_size * (1 + off), **law) - best.mse
    assert excess == pytest.approx(curvature * (off * best.step_size) ** 2, rel=1e-6, abs=1e-12 * d * v * w_std**2)


@pytest.mark.parametrize(
    ("n", "d", "variance", "step_size", "mse"),
    [
        (20, 5, 0, 0.0384615, 1.153846),
        (10, 10, 0, 0.047619, 5.238095),
        (20, 10, 0.25, 0.032, 3.6),
        (40, 20, 1, 0.016129, 7.096774),
    ],
)
def test_gaussian_numbers(n, d, variance, step_size, mse):
    best = iid_optimum(n_context=n, dim=d, noise_std=variance**0.5)
    assert best == pytest.approx((step_size, mse), abs=5.1e-7)
    assert best.mse == pytest.approx(d * (d + 1 + variance) / (n + d + 1 + variance), rel=1e-12)


@pytest.mark.parametrize(("r", "step_size", "half_mse"), [(1.0, 0.606061, 0.206229), (2.0, 0.151515, 0.824916)])
def test_uniform_numbers(r, step_size, half_mse):
    best = iid_optimum(n_context=10, dim=10, x_variance=r**2 / 12, kurtosis=1.8)
    assert (best.step_size, best.mse / 2) == pytest.approx((step_size, half_mse), abs=5.1e-7)
    assert uniform_mse(best.step_size, input_range=r, n_context=10, dim=10) == pytest.approx(best.mse, rel=1e-12)


def test_a_fixed_step_at_another_input_range():
    trained = iid_optimum(n_context=10, dim=10, x_variance=1 / 12, kurtosis=1.8)
    half_mse = uniform_mse(trained.step_size, input_range=2.0, n_context=10, dim=10) / 2
    assert half_mse == pytest.approx(8.40, abs=5e-3)
    v, eta = 4 / 12, trained.step_size
    assert half_mse == pytest.approx(5 * v * (1 - 2 * eta * 10 * v + eta**2 * 10 * v**2 * 19.8), rel=1e-12)


def spd(draw, d):
    root = draw.normal(d, d)[0]
    return root @ root.T + 0.1 * torch.eye(d, dtype=root.dtype)


@pytest.mark.parametrize("noise_std", [0.0, 0.7])
def test_preconditioned_loss_is_the_enumerated_one(noise_std, draw):
    mixing, w_root, gamma = draw.normal(3, 2, 2)[0]
    found = enumerated_mse(gamma, 2, mixing=mixing, w_root=w_root, noise_std=noise_std, kurtosis=3.0)
    laws = {"covariance": mixing @ mixing.T, "w_covariance": w_root @ w_root.T}
    exact = preconditioned_mse(gamma[None], n_context=2, noise_std=noise_std, **laws)
    torch.testing.assert_close(exact, found[None], **EXACT)


def test_the_optimal_preconditioner_is_the_minimum(draw):
    n, d, noise_std = 7, 4, 0.6
    sigma, lam = spd(draw, d), spd(draw, d)
    law = {"n_context": n, "covariance": sigma, "w_covariance": lam, "noise_std": noise_std}
    best = optimal_preconditioner(**law).requires_grad_()
    loss = preconditioned_mse(best, **law)
    assert torch.autograd.grad(loss, best)[0].abs().max() < 1e-10
    assert loss.item() == pytest.approx(preconditioned_optimum_mse(**law), rel=1e-10)
    level = (sigma @ lam).trace() + noise_std**2
    inverse = (n + 1) * sigma + level * torch.linalg.inv(lam)
    torch.testing.assert_close(best.detach(), torch.linalg.inv(inverse), **EXACT)
    off = draw.normal(5, d, d)[0]
    second = n * (n + 1) * sigma @ lam @ sigma + n * level * sigma
    excess = torch.einsum("ij,bjk,kl,bil->b", sigma, off, second, off)
    torch.testing.assert_close(preconditioned_mse(best + off, **law) - loss, excess, **EXACT)


@given(n=st.integers(1, 30), d=st.integers(1, 6), noise_std=st.floats(0, 2), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_special_priors(n, d, noise_std, seed):
    spectrum = torch.linspace(0.3, 1.7, d, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(d, d, generator=torch.Generator().manual_seed(seed)).double())[0]
    sigma, eye = (rotation * spectrum) @ rotation.T, torch.eye(d, dtype=torch.float64)
    law = {"n_context": n, "covariance": sigma, "noise_std": noise_std}
    whitened = torch.linalg.inv(sigma)
    isotropic = iid_optimum(n_context=n, dim=d, noise_std=noise_std)
    torch.testing.assert_close(
        optimal_preconditioner(w_covariance=whitened, **law), isotropic.step_size * whitened, **EXACT
    )
    assert preconditioned_optimum_mse(w_covariance=whitened, **law) == pytest.approx(isotropic.mse, rel=1e-9)
    zhang = torch.linalg.inv((1 + 1 / n) * sigma + (sigma.trace() + noise_std**2) / n * eye) / n
    torch.testing.assert_close(optimal_preconditioner(w_covariance=eye, **law), zhang, **EXACT)


def test_a_singular_prior_is_allowed():
    lam = torch.diag(torch.tensor([2.0, 0.0], dtype=torch.float64))
    gamma = optimal_preconditioner(n_context=5, covariance=torch.eye(2).double(), w_covariance=lam)
    torch.testing.assert_close(gamma, torch.diag(gamma.new_tensor([1 / (6 + 1), 0.0])), **EXACT)


def relu(x, draw, h=7):
    w, a = draw.normal(len(x), x.shape[-1], h)[0], draw.normal(len(x), h, 1)[0]
    return math.sqrt(2 / h) * ((x @ w).relu() @ a)[..., 0]


def quadratic(x, draw):
    return (x.square() @ draw.normal(len(x), x.shape[-1], 1)[0])[..., 0] / math.sqrt(3)


@pytest.mark.parametrize(("target", "optimum"), [(relu, relu_optimum), (quadratic, quadratic_optimum)])
def test_nonlinear_targets_on_sampled_prompts(target, optimum, draw):
    """The loss at a step that is not optimal, and its slope there, which fix the whole parabola with F."""
    n, d, b, noise_std, step_size = 6, 3, 100_000, 0.5, 0.05
    x = draw.normal(b, n + 1, d)[0]
    y = target(x, draw)
    noisy = y[:, :-1] + noise_std * draw.normal(b, n)[0]
    sums = torch.einsum("bnd,bn,bd->b", x[:, :-1], noisy, x[:, -1])
    best = optimum(n_context=n, dim=d, noise_std=noise_std)
    law = {"n_context": n, "dim": d, "noise_std": noise_std, "power": float(d)}
    beta, weighted = (d / 2, d * (d + 2)) if target is relu else (0.0, d * (d + 4))
    for eta in (0.0, step_size, best.step_size):
        error = (eta * sums - y[:, -1]).square()
        exact = nonlinear_mse(eta, beta=beta, weighted=float(weighted), **law)
        assert abs(error.mean() - exact) < 4 * error.std() / b**0.5
    slope = 2 * sums * (best.step_size * sums - y[:, -1])
    assert abs(slope.mean()) < 4 * slope.std() / b**0.5
    assert nonlinear_mse(best.step_size, beta=beta, weighted=float(weighted), **law) == pytest.approx(best.mse)


@given(n=st.integers(1, 60), d=st.integers(1, 30), noise_std=st.floats(0, 2))
@settings(max_examples=25, deadline=None)
def test_nonlinear_special_cases(n, d, noise_std):
    law = {"n_context": n, "dim": d, "noise_std": noise_std}
    linear = nonlinear_optimum(beta=float(d), power=float(d), weighted=float(d * (d + 2)), **law)
    assert linear == pytest.approx(iid_optimum(**law), rel=1e-12)
    level = n + 2 * d + 3 + 2 * noise_std**2
    assert relu_optimum(**law) == pytest.approx((1 / level, d - n * d / (2 * level)), rel=1e-12)
    assert quadratic_optimum(**law) == (0.0, d)


def test_relu_numbers():
    assert relu_optimum(n_context=20, dim=5, noise_std=0.1**0.5) == pytest.approx((0.030120, 3.493976), abs=5.1e-7)
