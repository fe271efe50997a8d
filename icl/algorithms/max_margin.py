"""Hard-margin attention SVMs: the smallest weights that prefer one token of every sequence to all others by 1.

    min ‖W‖   subject to   ⟨W, a_c⟩ >= 1 for all constraints c,    a_c = vec((x_{i,α} − x_{i,t}) z_iᵀ), t ≠ α

in the Frobenius norm (a vector p is the case z = 1) or in the nuclear norm.

References:
    Tarzanagh, Li, Thrampoulidis, Oymak 2023, Transformers as support vector machines, arXiv:2308.16898
    Lawson, Hanson 1974, Solving least squares problems, chapter 23 (least distance programming)
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

INFEASIBLE = 1e-9  # residual of Lawson and Hanson's problem, which is 0 if and only if there is no solution
MAX_ITERATIONS = 20_000


class Infeasible(ValueError):
    """No weights meet all constraints; `constraint` is the one with most weight in the proof of it."""

    def __init__(self, constraint: int, share: float):
        super().__init__(f"constraint {constraint} cannot be met together with the others ({share:.0%} of the proof)")
        self.constraint = constraint


@dataclass(frozen=True)
class Separator:
    """The solution, its multipliers (one a constraint) and the relative gap between its norm and the dual bound."""

    weights: np.ndarray  # as many numbers as a constraint has, or the matrix
    multipliers: np.ndarray
    gap: float


def least_distance(constraints: np.ndarray, bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(d, λ): the smallest d with A d >= b, d = Aᵀ λ, exactly, by one non-negative least-squares problem.

    Raises:
        Infeasible: there is none: some u >= 0 has Aᵀ u = 0 and b · u > 0.
    """
    if (bounds <= 0).all():
        return np.zeros(constraints.shape[1]), np.zeros(len(bounds))
    stacked = np.vstack([constraints.T, bounds])
    target = np.zeros(len(stacked))
    target[-1] = 1.0
    u, residual = nnls(stacked, target, maxiter=100 * len(bounds))
    if residual < INFEASIBLE:
        worst = int(u.argmax())
        raise Infeasible(worst, float(u[worst] / u.sum()))
    r = stacked @ u - target
    multipliers = u / -r[-1]
    return constraints.T @ multipliers, multipliers


def smallest_frobenius(constraints: np.ndarray) -> Separator:
    """The solution in the Frobenius norm; the gap is ‖w‖² against Σ λ, equal at the optimum."""
    weights, multipliers = least_distance(constraints, np.ones(len(constraints)))
    square = float(weights @ weights)
    return Separator(weights, multipliers, abs(square - float(multipliers.sum())) / square)


def smallest_nuclear(constraints: np.ndarray, shape: tuple[int, int], *, tolerance: float = 1e-5) -> Separator:
    """The solution in the nuclear norm, by the alternating direction method of multipliers.

    One half step cuts singular values, the other projects on the constraints. Every multiplier λ with
    ‖Σ_c λ_c a_c‖_op <= 1 bounds the optimum from below by Σ λ, which is where the gap comes from.

    Raises:
        Infeasible: no weights meet all constraints.
    """
    start = smallest_frobenius(constraints).weights
    rho = 1.0 / np.linalg.norm(start.reshape(shape), 2)
    cut, dual = start.reshape(shape), np.zeros(shape)
    best = Separator(cut, np.zeros(len(constraints)), np.inf)
    for iteration in range(MAX_ITERATIONS):
        moved = cut - dual
        d, multipliers = least_distance(constraints, 1.0 - constraints @ moved.ravel())
        inside = moved + d.reshape(shape)
        left, values, right = np.linalg.svd(inside + dual, full_matrices=False)
        cut = (left * np.maximum(values - 1.0 / rho, 0)) @ right
        dual = dual + inside - cut
        if iteration % 20 == 0:
            best = min(best, _judged(inside, rho * multipliers, constraints), key=lambda s: s.gap)
            if best.gap < tolerance:
                break
    return best


def _judged(weights: np.ndarray, multipliers: np.ndarray, constraints: np.ndarray) -> Separator:
    """Weights that meet all constraints, with the best bound that their multipliers give."""
    margin = float((constraints @ weights.ravel()).min())
    weights = weights / margin if margin > 0 else weights
    largest = np.linalg.norm((constraints.T @ multipliers).reshape(weights.shape), 2)
    multipliers = multipliers / largest if largest > 0 else multipliers
    norm = float(np.linalg.norm(weights, "nuc"))
    gap = (norm - float(multipliers.sum())) / norm if margin > 0 else np.inf
    return Separator(weights, multipliers, gap)


def constraints_of(tokens: np.ndarray, selected: np.ndarray, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows vec((x_{i,α} − x_{i,t}) z_iᵀ) for tokens (n, T, D), selected (n,), queries z (n, k); and their (i, t)."""
    n, length, _ = tokens.shape
    rows, pairs = [], []
    for i in range(n):
        for t in range(length):
            if t != selected[i]:
                rows.append(np.outer(tokens[i, selected[i]] - tokens[i, t], queries[i]).ravel())
                pairs.append((i, t))
    return np.array(rows), np.array(pairs)
