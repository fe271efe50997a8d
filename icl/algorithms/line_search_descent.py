"""Gradient descent that chooses its step size from the context.

References:
    Cauchy 1847 (exact line search); Polyak 1987, Introduction to Optimization, 5.3; Armijo 1966.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from icl.algorithms.moments import FromMoments, matvec

Rule = Literal["exact", "polyak", "armijo"]


@dataclass(frozen=True, kw_only=True)
class LineSearchDescent(FromMoments):
    """w ← w − η g on L(w) = 1/(2n) Σ (⟨w, xᵢ⟩ − yᵢ)², with H = A/n, g = Hw − b/n and, a step and prompt,

        exact     η = gᵀg / gᵀHg, the minimum along g
        polyak    η = (L(w) − min L) / gᵀg
        armijo    η = the largest of first·shrink^k, k = 0, 1, .., with L(w − ηg) ≤ L(w) − slope·η gᵀg

    For a quadratic loss Armijo's condition is η ≤ 2(1 − slope) gᵀg / gᵀHg, so no search is needed to find it.
    """

    rule: Rule = "exact"
    steps: int = 10
    first: float = 1.0
    shrink: float = 0.5
    slope: float = 1e-4

    def __post_init__(self) -> None:
        if self.rule not in ("exact", "polyak", "armijo"):
            raise ValueError(f"rule={self.rule!r} must be exact, polyak or armijo")
        if not (self.first > 0 and 0 < self.shrink < 1 and 0 < self.slope < 1):
            raise ValueError(f"first={self.first} must be > 0, shrink={self.shrink} and slope={self.slope} in (0, 1)")

    def weights(
        self, A: Float[Tensor, "*batch D D"], b: Float[Tensor, "*batch D"], n: Float[Tensor, "*batch"], steps: int
    ) -> Float[Tensor, "T *batch D"]:
        H, target = A / n[..., None, None], b / n[..., None]
        best = matvec(torch.linalg.pinv(H, hermitian=True), target) if self.rule == "polyak" else None
        w = torch.zeros_like(b)
        trajectory = [w]
        for _ in range(steps):
            g = matvec(H, w) - target
            square, curvature = g.square().sum(-1), (g * matvec(H, g)).sum(-1)
            excess = None if best is None else 0.5 * ((w - best) * matvec(H, w - best)).sum(-1)
            w = w - self.size(square, curvature, excess)[..., None] * g
            trajectory.append(w)
        return torch.stack(trajectory)

    def size(
        self,
        square: Float[Tensor, "*batch"],
        curvature: Float[Tensor, "*batch"],
        excess: Float[Tensor, "*batch"] | None,
    ) -> Float[Tensor, "*batch"]:
        """η from gᵀg, gᵀHg and, for `polyak`, L(w) − min L."""
        tiny = torch.finfo(square.dtype).tiny
        if self.rule == "polyak":
            assert excess is not None
            return excess / square.clamp(min=tiny)
        exact = square / curvature.clamp(min=tiny)
        if self.rule == "exact":
            return exact
        largest = 2 * (1 - self.slope) * exact
        shrinks = (torch.log(largest.clamp(min=tiny) / self.first) / math.log(self.shrink)).ceil().clamp(min=0)
        return self.first * self.shrink**shrinks
