"""Every prefix of a prompt at once: entry i of a result belongs to the pairs before pair i.

The pairs that a prefix has not seen are masked, or one triangular factor of all pairs is read row by row: the leading
block of a Cholesky factor is the factor of the leading block.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

ILL_CONDITIONED = 1e4  # beyond it a prompt is left to least squares prefix by prefix


def mean_products(
    x: Float[Tensor, "#M B P D"], y: Float[Tensor, "#M B P"]
) -> tuple[Callable[[Float[Tensor, "#M B P D"]], Float[Tensor, "#M B P D"]], Float[Tensor, "#M B P D"]]:
    """(w ↦ S w / n, b / n), S = Σ xᵢ xᵢᵀ and b = Σ yᵢ xᵢ over the n pairs of every prefix; n = 1 for the empty one.

    ∇L(w) = S w / n − b / n. Two products of matrices a prompt, without any S.
    """
    n_positions = x.shape[2]
    seen = torch.ones(n_positions, n_positions, dtype=x.dtype, device=x.device).tril(-1)
    share = seen / seen.sum(1, keepdim=True).clamp(min=1)

    def product(w: Tensor) -> Tensor:
        return ((w @ x.mT) * share) @ x

    return product, (y[:, :, None] * share) @ x


def guesses(w: Float[Tensor, "#M B P D"], x: Float[Tensor, "#M B P D"]) -> Float[Tensor, "#M B P"]:
    """⟨w_i, x_i⟩."""
    return (w * x).sum(-1)


def ridge_guesses(x: Float[Tensor, "#M B P D"], y: Float[Tensor, "#M B P"], ridge: float) -> Float[Tensor, "#M B P"]:
    """Ridge regression on every prefix, from one Cholesky factor L Lᵀ = X Xᵀ + λI of all pairs.

    ŷ_i = k_iᵀ (K_i + λI)⁻¹ y_{<i} with K_i the leading block of X Xᵀ and k_i the row below it. L's own row below is
    L_i⁻¹ k_i, so with L z = y this is Σ_{j<i} L_ij z_j.
    """
    K = x @ x.mT + ridge * torch.eye(x.shape[2]).to(x)
    L = torch.linalg.cholesky(K)
    z = torch.linalg.solve_triangular(L, y[..., None], upper=False)
    return (L.tril(-1) @ z)[..., 0]


def least_squares_guesses(
    x: Float[Tensor, "#M B P D"], y: Float[Tensor, "#M B P"], slowly: Callable[[Tensor, Tensor], Tensor]
) -> Float[Tensor, "#M B P"]:
    """Least squares of least norm on every prefix. `slowly` answers the prompts that are close to singular.

    The first D pairs X_D = Rᵀ Qᵀ: up to i = D the fit is exact, and ŷ_i = Σ_{j<i} ⟨q_j, x_i⟩ z_j with Rᵀ z = y_D.
    Beyond, x̃ = X_D⁻ᵀ x makes the first D pairs the unit vectors: they are a prior of precision I around y_D, so what
    the other pairs add is ridge regression with λ = 1 on (x̃, y − ⟨x̃, y_D⟩).
    """
    dim = x.shape[3]
    Q, R = torch.linalg.qr(x[:, :, :dim].mT)  # (D, min(P, D))
    y_D = y[:, :, :dim, None]
    c = x @ Q
    z = torch.linalg.solve_triangular(R.mT, y_D, upper=False)
    found = (c.tril(-1) @ z)[..., 0]
    size = R.diagonal(dim1=-2, dim2=-1).abs()
    hard = size.amax(-1) > ILL_CONDITIONED * size.amin(-1)
    if x.shape[2] > dim:
        others = torch.linalg.solve_triangular(R, c[:, :, dim:].mT, upper=True).mT  # x̃
        hard |= ~(others.abs().amax((-2, -1)) < ILL_CONDITIONED)
        others = others.masked_fill(hard[..., None, None], 0)
        before = (others @ y_D)[..., 0]
        found[:, :, dim:] = before + ridge_guesses(others, y[:, :, dim:] - before, 1.0)
    if hard.any():
        found[hard] = slowly(x[hard][None], y[hard][None])[0]
    return found
