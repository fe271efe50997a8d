"""The mean spectrum of S/n, S = Σᵢ xᵢxᵢᵀ: the loss of every predictor that filters S is an integral over it.

For standard normal x the density of the d eigenvalues of S is known. With a = n − d ≥ 0, rₖ = √(k(k+a)),
orthonormal Laguerre functions lₖ(λ) = (k!/Γ(k+a+1))^½ λ^(a/2) e^(−λ/2) Lₖ⁽ᵃ⁾(λ), iₖ(λ) = ∫_λ^∞ lₖ(u)/√u du,

    ρ(λ) = Σ_{k=0}^{d−2} lₖ(λ)² + λ^(−½) l_{d−1}(λ) [½ r_{d−1} i_{d−2}(λ) + κ],
    κ = −¼ r_{d−1} i_{d−2}(0) for even d,  1 / i_{d−1}(0) for odd d,

    rₖ₊₁ lₖ₊₁ = (2k+a+1−λ) lₖ − rₖ lₖ₋₁,      rₖ₊₁ iₖ₊₁ = rₖ iₖ₋₁ − 2 √λ lₖ.

The sum is the complex Wishart density of d − 1 eigenvalues; the rest integrates to one. In t = √λ all is
smooth at zero, so Gauss-Legendre nodes in t integrate to rounding error (the tests hold them against the
integers of `icl.theory.wishart`).

References:
    Adler, Forrester, Nagao, van Moerbeke (1999), Classical skew orthogonal polynomials and random matrices,
    arXiv:solv-int/9907001 (Laguerre orthogonal ensemble).
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Spectrum:
    """A measure on the eigenvalues of S/n, total weight 1: Σₖ weightsₖ f(eigenvaluesₖ) = E tr f(S/n) / d."""

    eigenvalues: Float[Tensor, "K"]
    weights: Float[Tensor, "K"]
    n_context: int

    def mean(self, values: Float[Tensor, "*batch K"]) -> Float[Tensor, "*batch"]:
        """E tr f(S/n) / d from the values of f at the eigenvalues."""
        return values @ self.weights


def sampled_spectrum(x: Float[Tensor, "*batch N D"]) -> Spectrum:
    """The eigenvalues of sampled S/n with equal weights: for inputs of any law."""
    eigenvalues = torch.linalg.svdvals(x).square().flatten() / x.shape[-2]
    eigenvalues = torch.nn.functional.pad(eigenvalues, (0, x.numel() // x.shape[-2] - len(eigenvalues)))
    weights = torch.full_like(eigenvalues, 1 / len(eigenvalues))
    return Spectrum(eigenvalues=eigenvalues, weights=weights, n_context=x.shape[-2])


def wishart_spectrum(n_context: int, dim: int) -> Spectrum:
    """The exact mean spectrum for standard normal x, with its atom at zero when n < d."""
    large, small = max(n_context, dim), min(n_context, dim)
    if not 1 <= small <= 300:  # the Laguerre functions underflow in float64 at about 450
        raise ValueError(f"min(n_context, dim)={small} must be in 1..300")
    reach = 16.0  # a singular value lies this far outside the bulk with probability e^(−reach²/2)
    low = max(0.0, math.sqrt(large) - math.sqrt(small) - reach)
    high = math.sqrt(large) + math.sqrt(small) + reach
    nodes, weights = np.polynomial.legendre.leggauss(240 + 8 * small)
    u = torch.as_tensor((nodes + 1) / 2)
    t = low + (high - low) * u.square()  # dense near zero, for 1/(λ + σ²/n) with small noise
    weights = (high - low) * u * torch.as_tensor(weights) * _singular_value_density(t, large, small)
    weights = weights / weights.sum() * (small / dim)
    eigenvalues = t.square() / n_context
    if n_context < dim:
        eigenvalues = torch.cat([eigenvalues.new_zeros(1), eigenvalues])
        weights = torch.cat([weights.new_full((1,), 1 - n_context / dim), weights])
    return Spectrum(eigenvalues=eigenvalues, weights=weights, n_context=n_context)


def _singular_value_density(t: Float[Tensor, "K"], large: int, small: int) -> Float[Tensor, "K"]:
    """2t ρ(t²): the density of the `small` singular values of a large x small standard normal matrix."""
    a = large - small
    t = torch.cat([t, t.new_zeros(1)])  # the last entry gives i_k(0)
    x, half = t.square(), torch.tensor((a + 1) / 2, dtype=t.dtype)
    r = [math.sqrt(k * (k + a)) for k in range(small)]
    l = torch.exp((torch.xlogy(t.new_full((), a), x) - x - math.lgamma(a + 1)) / 2)
    scale = math.exp(half.item() * math.log(2) + math.lgamma(half.item()) - math.lgamma(a + 1) / 2)
    i = scale * torch.special.gammaincc(half.expand_as(x), x / 2)
    l_before = i_before = unitary = torch.zeros_like(t)
    for k in range(small - 1):
        unitary = unitary + l.square()
        l_next = ((2 * k + a + 1 - x) * l - r[k] * l_before) / r[k + 1]
        i_next = (r[k] * i_before - 2 * t * l) / r[k + 1]
        l, l_before, i, i_before = l_next, l, i_next, i
    kappa = 1 / i[-1] if small % 2 else -r[-1] / 4 * i_before[-1]
    return (2 * t * unitary + 2 * l * (r[-1] / 2 * i_before + kappa))[:-1]
