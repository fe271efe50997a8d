"""Exact errors of many equal steps of gradient descent in weight space, for x ~ N(0, I_d), w ~ N(0, I_d), no noise.

    w_k − w = −(I − η S/n)^k w,      E |w_k − w|² = E tr (I − η S/n)^(2k),      S = Σᵢ xᵢxᵢᵀ

The mean is finite for every η, but from η λ_max(S/n) > 2 on a prompt diverges with k, and carries the mean if it is
rare. Inputs of variance v: η v in place of η.

References:
    Huang, Wang, Lee (2025), arXiv:2502.21212.
"""

import math
from fractions import Fraction

import torch
from jaxtyping import Float
from torch import Tensor

from icl.rng import Draw
from icl.theory.residual_polynomials import filter_mse_per_dim
from icl.theory.spectrum import wishart_spectrum
from icl.theory.wishart import expected_traces

CHUNK = 10_000  # prompts


def gradient_descent_mse_per_dim(step_size: float, steps: int, *, n_context: int, dim: int) -> float:
    """E tr (I − η S/n)^(2k) / d, an integral over the exact mean spectrum of S/n; any k."""
    spectrum = wishart_spectrum(n_context, dim)
    return filter_mse_per_dim(spectrum, (1 - step_size * spectrum.eigenvalues) ** steps)


def gradient_descent_mse_per_dim_by_moments(step_size: float, steps: int, *, n_context: int, dim: int) -> float:
    """The same by Σⱼ C(2k, j) (−η)ʲ E tr (S/n)ʲ / d in rational numbers; seconds from k = 20 on."""
    eta, total = Fraction(step_size), Fraction(0)
    for j in range(2 * steps + 1):
        moment = Fraction(expected_traces((j,), n_context, dim), dim * n_context**j)
        total += math.comb(2 * steps, j) * (-eta) ** j * moment
    return float(total)


def unstable_share(
    step_size: float, *, n_context: int, mixing: Float[Tensor, "D D"], draw: Draw, n_prompts: int
) -> float:
    """P(λ_max(S/n) > 2/η) for x = T z, z standard normal, T = `mixing`, from `n_prompts` drawn ones."""
    unstable = 0
    for start in range(0, n_prompts, CHUNK):
        z = draw.normal(min(CHUNK, n_prompts - start), n_context, len(mixing))[0]
        x = z @ mixing.to(z).T
        level = 2 / step_size * torch.eye(len(mixing)).to(z) - x.mT @ x / n_context
        unstable += int((torch.linalg.cholesky_ex(level).info != 0).sum())
    return unstable / n_prompts
