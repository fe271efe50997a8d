"""Exact averages over small prompts: three points have the first five moments of the law they stand for.

z in {−√κ, 0, √κ} with probabilities 1/2κ, 1 − 1/κ, 1/2κ is symmetric with E z² = 1, E z⁴ = κ, so averages of
polynomials of degree at most five in every single variable are those of any law of kurtosis κ (Gaussian: 3).
"""

import itertools

import torch
from torch import Tensor


def every_prompt(
    n_context: int, *, mixing: Tensor, w_root: Tensor, noise_std: float, kurtosis: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(x, y, w, probability) of all prompts with x = mixing z, w = w_root g, y = <w, x> + noise_std e."""
    d = len(mixing)
    n_z, n_normal = n_context * d, d + (n_context if noise_std else 0)
    values, chances = zip(*([_law(kurtosis)] * n_z + [_law(3.0)] * n_normal), strict=True)
    points = torch.tensor(list(itertools.product(*values)), dtype=torch.float64)
    probability = torch.tensor(list(itertools.product(*chances)), dtype=torch.float64).prod(-1)
    x = points[:, :n_z].reshape(-1, n_context, d) @ mixing.T
    w = points[:, n_z : n_z + d] @ w_root.T
    y = torch.einsum("bnd,bd->bn", x, w)
    if noise_std:
        y = y + noise_std * points[:, n_z + d :]
    return x, y, w, probability


def _law(kurtosis: float) -> tuple[list[float], list[float]]:
    reach, tail = kurtosis**0.5, 0.5 / kurtosis
    return [-reach, 0.0, reach], [tail, 1 - 2 * tail, tail]
