"""Chebyshev iteration: the best steps when only an interval of the spectrum is known.

References:
    Golub, Varga 1961, Chebyshev semi-iterative methods
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from icl.algorithms.first_order import FirstOrder
from icl.algorithms.spectra import own_basis


@dataclass(frozen=True, kw_only=True)
class Chebyshev(FirstOrder):
    """After t steps w* − w_t = p_t(S/N) w*, S = Σᵢ xᵢ xᵢᵀ, with, on the interval [low, high] of eigenvalues λ,

        p_t(λ) = T_t((c − λ)/h) / T_t(c/h),      c = (high + low)/2,   h = (high − low)/2:

    of all polynomials of degree t with p(0) = 1 the one of least max |p| there, at every t at once. It diverges
    on eigenvalues above low + high. Computed by the recursion of T_t, which needs no roots:

        w_{t+1} = w_t + ρ_t (2 r_t / h + ρ_{t−1} (w_t − w_{t−1})),   ρ_t = 1/(2c/h − ρ_{t−1}),   r = −∇L,

    w_0 = 0 and a first step 1/c. The trajectory is ŷ_t = ⟨w_t, x_query⟩ for t = 0..steps.
    """

    low: float
    high: float
    steps: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high < math.inf:
            raise ValueError(f"low={self.low}, high={self.high} must be 0 < low < high and finite")
        if self.steps < 0:
            raise ValueError(f"steps={self.steps} must be >= 0")

    @classmethod
    def for_spectrum_of(cls, *, task: Any, steps: int = 1, inside: float = 0.98) -> "Chebyshev":
        """The interval that leaves out equal shares (1 − inside)/2 of the task's eigenvalues at both ends.

        Raises:
            NotKnown: the labels are no ⟨w, x⟩ with w ~ N(0, c Σ⁻¹).
            ValueError: the inputs have a covariance that is no multiple of I, or too many eigenvalues are 0.
        """
        basis = own_basis(task)
        scale, preconditioner = basis.steps([1.0])
        if preconditioner is not None:
            raise ValueError("chebyshev is not preconditioned; the task needs covariance_spectrum=null")
        order = basis.spectrum.eigenvalues.argsort()
        eigenvalues, below = basis.spectrum.eigenvalues[order], basis.spectrum.weights[order].cumsum(0)
        edges = torch.tensor([(1 - inside) / 2, (1 + inside) / 2], dtype=below.dtype)
        low, high = (eigenvalues[torch.searchsorted(below, edges)] / scale[0]).tolist()
        return cls(low=low, high=high, steps=steps)

    def iterates(self, gradient: Callable[[Tensor], Tensor], w: Tensor, steps: int) -> Iterator[Tensor]:
        if steps < 0:
            raise ValueError(f"steps={steps} must be >= 0")
        center, half = (self.high + self.low) / 2, (self.high - self.low) / 2
        change, rho = torch.zeros_like(w), 0.0
        yield w
        for t in range(steps):
            ascent = -gradient(w)
            before, rho = rho, (half / center if t == 0 else 1 / (2 * center / half - rho))
            change = ascent / center if t == 0 else rho * (2 * ascent / half + before * change)
            w = w + change
            yield w
