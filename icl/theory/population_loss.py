"""The exact population loss of any one layer of linear attention: the infinite-batch objective.

Layer (columns, as Ahn et al.): eⱼ ← eⱼ + c P G Q eⱼ, with G = Σᵢ eᵢeᵢᵀ over the context tokens eᵢ = (xᵢ, yᵢ),
query (x_q, 0), prediction = −(last coordinate of the query token); c = 1/n if normalised, else 1. So only the
last row π = (p, p_y) of P and the first d columns U = [A; aᵀ] of Q matter: with S = Σ xxᵀ, g = Σ yx, h = Σ y²

    ŷ = −c ⟨x_q, m⟩,    m = UᵀGπ = Aᵀ(Sp + p_y g) + a (gᵀp + p_y h).

Data: x = T z, z i.i.d. symmetric of unit variance and kurtosis κ, w ~ N(0, Λ), y = ⟨w, x⟩ + ε, ε ~ N(0, σ²).
In z-coordinates p ← Tᵀp, A ← TᵀAT, a ← Tᵀa, w ← Tᵀw, Λ ← TᵀΛT, and then the query covariance is I.

Derivation. Given w, tokens are e = Σₖ zₖ tₖ + ε u with tₖ = (δₖ, wₖ), u = (0, 1): their covariance is
C = Σₖ tₖtₖᵀ + σ² uuᵀ, their fourth cumulants κ − 3 along the tₖ alone. By independence and Isserlis' theorem

    E[Gπ | w] = n Cπ,      E[GππᵀG | w] = n(n+1) CππᵀC + n (πᵀCπ) C + n(κ−3) Σₖ (tₖᵀπ)² tₖtₖᵀ.

UᵀCπ = b₀ + Bw + p_y a ‖w‖², B = p_y Aᵀ + a pᵀ, b₀ = Aᵀp + σ² p_y a; odd and even parts in w do not mix. With
τ = tr Λ, ρ = tr Λ², s = τ + σ², α = ‖a‖², rₖ = ‖row k of A‖², E‖w‖⁴ = τ² + 2ρ, the average over w is

    half_mse = ½ E ‖c m + w‖² = ½ [τ + 2cn tr BΛ + c²n V],
    V = (n+1) [‖Aᵀp + s p_y a‖² + tr BΛBᵀ + 2ρ p_y² α] + (‖p‖² + s p_y²)(‖A‖² + s α) + 4 p_y pᵀΛAa + 2ρ p_y² α
        + (κ−3) Σₖ [pₖ² rₖ + Λₖₖ (p_y² rₖ + 4 p_y pₖ (Aa)ₖ + pₖ² α) + 3 Λₖₖ² p_y² α].

O(M d²) work for i.i.d. coordinates, O(M d³) for general ones; no N, no batch, no random numbers.
At gradient descent's weights (p = a = 0) it is half the mse of `icl.theory.one_step`.

References:
    Ahn, Cheng, Daneshmand, Sra (2023), arXiv:2306.00297 (the layer); the derivation is ours.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def one_layer_half_mse(
    P_row: Float[Tensor, "M D1"],
    Q: Float[Tensor, "M D1 D1"],
    *,
    n_context: int,
    normalize: bool,
    x_variance: float = 1.0,
    kurtosis: float = 3.0,
    w_std: float = 1.0,
    noise_std: float = 0.0,
) -> Float[Tensor, "M"]:
    """½ E(ŷ − ⟨w, x_q⟩)² for i.i.d. coordinates, w ~ N(0, w_std² I); `P_row` is the last row of P.

    With Λ = λI all of V but ‖UᵀDπ‖², D = diag(1, .., 1, s'), is a bilinear form in the squares of π and the
    squared row norms of U: completing the square leaves one matrix-vector product a member.
    """
    n, d, v = n_context, Q.shape[-1] - 1, x_variance
    c = 1 / n if normalize else 1.0
    prior = v * w_std**2
    level, gain = d * prior + noise_std**2, 0.5 * c * c * n * v
    corner = level + prior * (n + 2 * kurtosis - 3) / (n + 1)
    scale = P_row.new_full((d + 1,), v * math.sqrt(gain * (n + 1)))
    scale[-1] *= corner / v
    weights = gain * _square_weights(n, d, prior, level, corner, kurtosis, v, like=P_row)
    U = Q[..., :-1]
    mean = ((P_row * scale)[:, :, None] * U).sum(1)  # einsum would call bmm, slower at this size
    squares = ((P_row * P_row) @ weights) * (U * U).sum(-1)
    overlap = torch.cat([U[:, -1], U.diagonal(dim1=1, dim2=2).sum(-1, keepdim=True)], dim=-1)
    linear = (c * n * prior * v) * P_row * overlap
    return 0.5 * d * prior + (mean * mean).sum(-1) + (squares + linear).sum(-1)


def _square_weights(
    n: int, d: int, prior: float, level: float, corner: float, kurtosis: float, v: float, *, like: Tensor
) -> Float[Tensor, "D1 D1"]:
    """Ω with V = (n+1)‖UᵀDπ‖² + Σₖₗ πₖ² Ωₖₗ ‖row l of U‖², rescaled to x-coordinates (tₖ² = v, t_y² = 1)."""
    excess, rho = kurtosis - 3, d * prior**2
    weights = like.new_full((d + 1, d + 1), v * v)
    weights.diagonal().add_(excess * v * v)
    weights[-1, :] = weights[:, -1] = v * ((n + 1 + excess) * prior + level)
    last = (n + 2) * (level**2 + 2 * rho) + 3 * excess * rho - (n + 1) * corner**2
    weights[-1, -1].fill_(last)  # an assignment would copy a number of the host to a GPU
    return weights


def one_layer_half_mse_general(
    P_row: Float[Tensor, "M D1"],
    Q: Float[Tensor, "M D1 D1"],
    *,
    n_context: int,
    normalize: bool,
    mixing: Float[Tensor, "D D"],
    w_covariance: Float[Tensor, "D D"],
    kurtosis: float = 3.0,
    noise_std: float = 0.0,
) -> Float[Tensor, "M"]:
    """½ E(ŷ − ⟨w, x_q⟩)² for x = T z, w ~ N(0, Λ): T = `mixing`, Λ = `w_covariance`.

    For x ~ N(0, Σ) any T with TTᵀ = Σ will do, such as `torch.linalg.cholesky(Σ)`; other z need their own T.
    """
    n, c = n_context, 1 / n_context if normalize else 1.0
    mixing = mixing.to(P_row)
    prior = mixing.T @ w_covariance.to(P_row) @ mixing
    tau, rho, own = prior.trace(), prior.square().sum(), prior.diagonal()
    s = tau + noise_std**2
    p, p_y, U = P_row[:, :-1] @ mixing, P_row[:, -1:], Q[:, :, :-1] @ mixing
    A, a = mixing.T @ U[:, :-1], U[:, -1]
    B = p_y[:, None] * A.mT + a[:, :, None] * p[:, None]
    B_prior, Aa, rows = B @ prior, (A * a[:, None]).sum(-1), (A * A).sum(-1)
    p_y2, alpha = (p_y * p_y)[:, 0], (a * a).sum(-1)
    mean = (A * p[:, :, None]).sum(1) + s * p_y * a
    V = (n + 1) * ((mean * mean).sum(-1) + (B_prior * B).sum((1, 2))) + 4 * (p_y * (p @ prior) * Aa).sum(-1)
    V = V + ((p * p).sum(-1) + s * p_y2) * (rows.sum(-1) + s * alpha) + 2 * (n + 2) * rho * p_y2 * alpha
    if kurtosis != 3:
        crossed = (p_y * p_y) * rows + 4 * p_y * p * Aa + alpha[:, None] * (p * p)
        fourth = (p * p * rows).sum(-1) + crossed @ own + 3 * own.square().sum() * p_y2 * alpha
        V = V + (kurtosis - 3) * fourth
    overlap = B_prior.diagonal(dim1=1, dim2=2).sum(-1)
    return 0.5 * (tau + 2 * c * n * overlap + c * c * n * V)
