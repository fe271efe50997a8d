"""Exact losses of the simple predictors, for x ~ N(0, I_d), w ~ N(0, I_d), y = ⟨w, x⟩ + ε, ε ~ N(0, σ²).

All are the excess mse, on the clean query target: add σ² for a noisy one, divide by d for mse_per_dim.
Inputs of variance v and weights of scale w: v w² times the value at noise σ/(√v w).
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from icl.rng import Draw
from icl.theory.one_step import iid_mse, iid_optimum
from icl.theory.residual_polynomials import filter_mse_per_dim
from icl.theory.spectrum import wishart_spectrum


def zero_predictor_mse(dim: int) -> float:
    """ŷ = 0: d."""
    return float(dim)


def averaging_mse(n_context: int, dim: int, noise_std: float = 0.0) -> float:
    """ŵ = Σ yᵢxᵢ/n, n ≥ 1: d (d+1+σ²)/n."""
    return iid_mse(1 / n_context, n_context=n_context, dim=dim, noise_std=noise_std)


def one_step_mse(n_context: int, dim: int, noise_std: float = 0.0) -> float:
    """The best ŵ = η Σ yᵢxᵢ: d (d+1+σ²)/(n+d+1+σ²)."""
    return iid_optimum(n_context=n_context, dim=dim, noise_std=noise_std).mse


def least_squares_mse(n_context: int, dim: int, noise_std: float = 0.0) -> float:
    """Least squares, of minimal norm when n < d: max(0, d − n) + σ² E tr S⁺.

    E tr S⁺ = min(n, d)/(|n − d| − 1), and infinite for |n − d| ≤ 1 (but zero for n = 0).
    """
    bias = float(max(0, dim - n_context))
    if noise_std == 0 or n_context == 0:
        return bias
    gap = abs(n_context - dim) - 1
    return bias + noise_std**2 * min(n_context, dim) / gap if gap > 0 else math.inf


def ridge_mse(n_context: int, dim: int, noise_std: float = 0.0, *, ridge: float) -> float:
    """ŵ = (S + μI)⁻¹ Xᵀy, μ = `ridge`: E tr (μ² I + σ² S)(S + μI)⁻², over the exact spectrum."""
    if ridge == 0 or n_context == 0:
        return least_squares_mse(n_context, dim, noise_std)
    spectrum = wishart_spectrum(n_context, dim)
    p = ridge / (n_context * spectrum.eigenvalues + ridge)
    return dim * filter_mse_per_dim(spectrum, p, noise_std=noise_std)


def bayes_mse(n_context: int, dim: int, noise_std: float = 0.0) -> float:
    """The posterior mean, ridge with μ = σ²: σ² E tr (S + σ²I)⁻¹; without noise max(0, d − n)."""
    if noise_std**2 == 0:
        return least_squares_mse(n_context, dim)
    return ridge_mse(n_context, dim, noise_std, ridge=noise_std**2)


def bayes_mse_given_inputs(
    x: Float[Tensor, "*batch N D"],
    *,
    covariance: Float[Tensor, "D D"],
    w_covariance: Float[Tensor, "D D"],
    noise_std: float,
) -> Float[Tensor, "*batch"]:
    """tr Σ Cov(w | X), the Bayes risk of one context: Cov = L (I + LᵀSL/σ²)⁻¹ Lᵀ for w ~ N(0, Λ = LLᵀ).

    For inputs of any law with covariance Σ; σ > 0.
    """
    root = torch.linalg.cholesky(w_covariance)
    features = x @ root
    identity = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    precision = identity + features.mT @ features / noise_std**2
    return torch.linalg.solve(precision, root.T @ covariance @ root).diagonal(dim1=-2, dim2=-1).sum(-1)


def bayes_mse_monte_carlo(
    draw: Draw,
    *,
    n_context: int,
    covariance: Float[Tensor, "D D"],
    w_covariance: Float[Tensor, "D D"],
    noise_std: float,
    n_prompts: int = 20_000,
) -> tuple[float, float]:
    """(mse, standard error) of the Bayes risk for x ~ N(0, Σ), sampled over X: we know no closed form."""
    z = draw.normal(n_prompts, n_context, len(covariance))
    risks = bayes_mse_given_inputs(
        z @ torch.linalg.cholesky(covariance).T,
        covariance=covariance,
        w_covariance=w_covariance,
        noise_std=noise_std,
    )
    return risks.mean().item(), (risks.std() / risks.numel() ** 0.5).item()
