"""Is a multiple of the identity the best matrix of a looped layer? The curvature of the loss there, exactly.

A layer y ← (I − S A) y, applied L times with one and the same A, leaves the residual R = (I − A S)^L of the target;
S = XᵀX/n, x ~ N(0, I_d). The population mse is E ‖R‖²_F. At A = βI, β the best scalar, the gradient along every
traceless direction vanishes: E[·] is invariant under A → U A Uᵀ. The second derivative along E, ‖E‖_F = 1, is by
Schur's lemma the same for all skew E, and for all traceless symmetric E: two numbers say whether βI is a minimum.

Derivation. In the eigenbasis of S (eigenvalues λᵢ, mᵢ = 1 − βλᵢ, K = UᵀEU) with R(t) = (I − βS − tES)^L,

    R'ᵢⱼ = −Kᵢⱼ λⱼ hᵢⱼ,   hᵢⱼ = Σ_{a+b=L−1} mᵢᵃ mⱼᵇ,
    ½ ⟨R, R''⟩ = Σᵢⱼ Kᵢⱼ Kⱼᵢ λᵢ λⱼ mᵢᴸ Σ_{s≤L−2} (s+1) mᵢˢ mⱼ^(L−2−s),

    d²/dt² E‖R‖² = E Σᵢⱼ κᵢⱼ [2 λⱼ² hᵢⱼ² ± 4 λᵢ λⱼ mᵢᴸ Σ_s (s+1) mᵢˢ mⱼ^(L−2−s)],     − for skew, + for symmetric,

and for Haar-distributed U: κᵢⱼ = E Kᵢⱼ² is 1/(d(d−1)) off the diagonal for skew E; for traceless symmetric E, with
q = d(d+1)/2 − 1, it is 1/(2q) off and (1 − 1/d)/q on the diagonal. What is left are moments E tr Sᵖ tr S^q, which
are integers over n^(p+q): the sign of the curvature is a theorem for every (d, n, L), with no samples.

References:
    Gatmiry et al. (2024), arXiv:2410.08292 (looped linear attention); that the best A is not symmetric is ours.
"""

from fractions import Fraction
from math import comb
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from icl.theory.residual_polynomials import best_tied_step
from icl.theory.spectrum import wishart_spectrum
from icl.theory.wishart import expected_traces

Direction = Literal["skew", "symmetric"]


class Estimate(NamedTuple):
    """A mean over samples and its standard error."""

    value: float
    error: float


def residual_norms(
    A: Float[Tensor, "*#M D D"], covariances: Float[Tensor, "K D D"], n_loops: int
) -> Float[Tensor, "*#M K"]:
    """‖(I − A S)^L‖²_F of every sampled S: the mse of that prompt's inputs, w and query integrated out."""
    check_loops(n_loops)
    once = torch.eye(A.shape[-1]).to(A) - A[..., None, :, :] @ covariances
    return torch.linalg.matrix_power(once, n_loops).square().sum((-2, -1))


def empirical_covariances(x: Float[Tensor, "*K N D"]) -> Float[Tensor, "*K D D"]:
    """S = XᵀX/n."""
    return x.mT @ x / x.shape[-2]


def curvature(
    n_context: int, dim: int, n_loops: int, direction: Direction = "skew", *, step_size: float | None = None
) -> float:
    """d²/dt² E‖(I − (βI + tE)S)^L‖² / E‖(I − βS)^L‖² at t = 0, ‖E‖_F = 1; exact, negative at a saddle.

    β is `step_size`, by default the best scalar.
    """
    check_loops(n_loops)
    if dim < 2:
        raise ValueError(f"dim={dim} must be >= 2: one dimension has no traceless direction")
    if step_size is None:
        step_size = best_tied_step(wishart_spectrum(n_context, dim), n_loops).step_size
    beta = Fraction(step_size)
    form = _pair_form(beta, n_loops, -1 if direction == "skew" else 1)
    off, on = _weights(dim, direction)
    total = Fraction(0)
    for (p, q), c in form.items():
        own = expected_traces((p + q,), n_context, dim)
        pairs = expected_traces((p, q), n_context, dim) - own
        total += c * (off * pairs + on * own) / n_context ** (p + q)
    power = _power(beta, 2 * n_loops)
    loss = sum(c * Fraction(expected_traces((k,), n_context, dim), n_context**k) for k, c in enumerate(power))
    return float(total / loss)


def sampled_curvature(
    eigenvalues: Float[Tensor, "K D"], n_loops: int, direction: Direction = "skew", *, step_size: float
) -> Estimate:
    """The same from sampled spectra of S, of any rotation-invariant law, with its standard error."""
    check_loops(n_loops)
    m, l = 1 - step_size * eigenvalues, eigenvalues
    m_i, m_j, l_i, l_j = m[:, :, None], m[:, None], l[:, :, None], l[:, None]
    h = sum(m_i**a * m_j ** (n_loops - 1 - a) for a in range(n_loops))
    g = sum((s + 1) * m_i**s * m_j ** (n_loops - 2 - s) for s in range(n_loops - 1))
    bent = 4 * l_i * l_j * m_i**n_loops * g
    form = 2 * l_j.square() * h * h + (-bent if direction == "skew" else bent)
    off, on = (float(w) for w in _weights(eigenvalues.shape[1], direction))
    diagonal = form.diagonal(dim1=1, dim2=2).sum(-1)
    values = off * (form.sum((1, 2)) - diagonal) + on * diagonal
    losses = m.pow(2 * n_loops).sum(-1)
    ratio = values.mean() / losses.mean()
    spread = (values - ratio * losses).std() / losses.mean() / len(values) ** 0.5
    return Estimate(ratio.item(), spread.item())


def check_loops(n_loops: int) -> None:
    if n_loops < 1:
        raise ValueError(f"n_loops={n_loops} must be >= 1")


def _weights(dim: int, direction: Direction) -> tuple[Fraction, Fraction]:
    """κᵢⱼ off and on the diagonal."""
    if direction == "skew":
        return Fraction(1, dim * (dim - 1)), Fraction(0)
    size = dim * (dim + 1) // 2 - 1
    return Fraction(1, 2 * size), Fraction(dim - 1, dim * size)


def _pair_form(beta: Fraction, n_loops: int, sign: int) -> dict[tuple[int, int], Fraction]:
    """The bracket of the docstring as a polynomial Σ c_pq λᵢᵖ λⱼ^q."""
    form: dict[tuple[int, int], Fraction] = {}

    def add(factor: int, p0: int, a: int, q0: int, b: int) -> None:
        """factor λᵢ^p0 mᵢᵃ λⱼ^q0 mⱼᵇ."""
        for p, c in enumerate(_power(beta, a), start=p0):
            for q, e in enumerate(_power(beta, b), start=q0):
                form[p, q] = form.get((p, q), Fraction(0)) + factor * c * e

    for s in range(2 * n_loops - 1):  # hᵢⱼ² = Σ_s (L − |s − L + 1|) mᵢˢ mⱼ^(2L−2−s)
        add(2 * (n_loops - abs(s - n_loops + 1)), 0, s, 2, 2 * n_loops - 2 - s)
    for s in range(n_loops - 1):
        add(4 * sign * (s + 1), 1, n_loops + s, 1, n_loops - 2 - s)
    return form


def _power(beta: Fraction, k: int) -> list[Fraction]:
    """The coefficients of (1 − βλ)ᵏ."""
    return [comb(k, j) * (-beta) ** j for j in range(k + 1)]
