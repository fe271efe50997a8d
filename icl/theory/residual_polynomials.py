"""L steps of gradient descent leave the residual polynomial p(S/n) of the target; its square is the loss.

With w_0 = 0, y = ⟨w, x⟩, w ~ N(0, I_d) and inputs of unit variance, step l of size β_l (GD++: after which the
inputs are shrunk, x ← (I − γ_l S/n) x) leaves w − w_L = p(S/n) w, where for each eigenvalue λ of S/n

    a_0 = q_0 = 1,   a_{l+1} = a_l (1 − β_l λ q_l²),   q_{l+1} = q_l (1 − γ_l λ q_l²),   p = a_L,

and the population loss on the clean query is E tr p(S/n)²; per dimension it is ∫ p² dμ over the mean spectrum
μ of S/n. Inputs of variance v: the spectrum scales by v, and the loss by v once more.

References:
    Ahn, Cheng, Daneshmand, Sra (2023), arXiv:2306.00297; von Oswald et al. (2022), arXiv:2212.07677 (GD++).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.polynomial import polynomial
from torch import Tensor

from icl.theory.spectrum import Spectrum
from icl.theory.wishart import moment

Steps = Sequence[float] | Float[Tensor, "T"]


class FreeSteps(NamedTuple):
    """The best L step sizes, one a layer; their order over the layers is arbitrary, here ascending."""

    step_sizes: list[float]
    mse_per_dim: float


class TiedStep(NamedTuple):
    """The best step size when all L layers share it."""

    step_size: float
    mse_per_dim: float


def residual(
    eigenvalues: Float[Tensor, "*batch"], step_sizes: Steps, x_step_sizes: Steps | None = None
) -> Float[Tensor, "*batch"]:
    """p(λ) after all steps, differentiable in everything; `x_step_sizes` are the γ of GD++ (None: GD)."""
    p, q_squared_eigenvalues = torch.ones_like(eigenvalues), eigenvalues
    for l, step_size in enumerate(step_sizes):
        p = p * (1 - step_size * q_squared_eigenvalues)
        if x_step_sizes is not None:
            q_squared_eigenvalues = q_squared_eigenvalues * (1 - x_step_sizes[l] * q_squared_eigenvalues) ** 2
    return p


def residual_coefficients(step_sizes: Sequence[float], x_step_sizes: Sequence[float] | None = None) -> np.ndarray:
    """The ascending coefficients of p: degree L for GD, and up to (3^L − 1)/2 for GD++."""
    p, q_squared_x = np.ones(1), np.array([0.0, 1.0])  # q²λ as a polynomial in λ
    for l, step_size in enumerate(step_sizes):
        p = polynomial.polysub(p, step_size * polynomial.polymul(p, q_squared_x))
        if x_step_sizes is not None:
            shrink = polynomial.polysub([1.0], x_step_sizes[l] * q_squared_x)
            q_squared_x = polynomial.polymul(q_squared_x, polynomial.polymul(shrink, shrink))
    return p


def polynomial_mse_per_dim(coefficients: Sequence[float] | np.ndarray, n_context: int, dim: int) -> float:
    """E tr p(S/n)² / d for standard normal x, from exact moments: independent of the spectrum."""
    squared = polynomial.polymul(coefficients, coefficients)
    return float(sum(c * moment(k, n_context, dim) for k, c in enumerate(squared)))


def filter_mse_per_dim(spectrum: Spectrum, p: Float[Tensor, "K"], *, noise_std: float = 0.0) -> float:
    """Excess loss of any estimator with w − ŵ = p(S/n) w without noise, per dimension, clean query target.

    ∫ p² + σ²/n (1 − p)²/λ dμ, with p given at the eigenvalues and p(0) = 1. With label noise the estimator is
    ŵ = (1 − p)(S/n) (S/n)⁻¹ Xᵀy/n, which GD, GD++, ridge and least squares all are.
    """
    loss = p.square()
    if noise_std:
        positive = spectrum.eigenvalues > 0
        noise = (1 - p).square() / torch.where(positive, spectrum.eigenvalues, 1)
        loss = loss + noise_std**2 / spectrum.n_context * torch.where(positive, noise, 0)
    return spectrum.mean(loss).item()


def best_free_steps(spectrum: Spectrum, n_layers: int) -> FreeSteps:
    """The L step sizes of least noiseless loss.

    The best p with p(0) = 1 is orthogonal to λ, .., λ^L in L²(μ): the L-th orthogonal polynomial of λ dμ,
    whose roots 1/β_l are the eigenvalues of its Jacobi matrix (Lanczos iteration).
    """
    eigenvalues = spectrum.eigenvalues
    basis = (spectrum.weights.clamp(min=0) * eigenvalues).sqrt()[None]
    basis = basis / basis.norm()
    jacobi = torch.zeros(n_layers, n_layers, dtype=eigenvalues.dtype)
    for l in range(n_layers):
        v = eigenvalues * basis[-1]
        jacobi[l, l] = v @ basis[-1]
        for _ in range(2):  # Gram-Schmidt, twice is enough
            v = v - (basis @ v) @ basis
        if l + 1 < n_layers:
            jacobi[l, l + 1] = jacobi[l + 1, l] = v.norm()
            basis = torch.cat([basis, v[None] / v.norm()])
    step_sizes = (1 / torch.linalg.eigvalsh(jacobi)).flip(0)
    return FreeSteps(step_sizes.tolist(), filter_mse_per_dim(spectrum, residual(eigenvalues, step_sizes)))


def best_tied_step(spectrum: Spectrum, n_layers: int) -> TiedStep:
    """The one step size of least noiseless loss after L equal steps.

    ∫ (1 − βλ)^(2L) dμ is convex in β: bisection on the sign of ∫ λ (1 − βλ)^(2L−1) dμ.
    """
    eigenvalues = spectrum.eigenvalues

    def descends(step_size: float) -> bool:
        return spectrum.mean(eigenvalues * (1 - step_size * eigenvalues) ** (2 * n_layers - 1)).item() > 0

    low, high = 0.0, 1.0 / spectrum.mean(eigenvalues).item()
    while descends(high):
        low, high = high, 2 * high
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if descends(middle) else (low, middle)
    p = residual(eigenvalues, [low] * n_layers)
    return TiedStep(low, filter_mse_per_dim(spectrum, p))
