"""Least squares with an L1 penalty.

References:
    Tibshirani 1996; Garg et al. 2022, arXiv:2208.01066 (sparse linear functions).
"""

import math
from dataclasses import dataclass
from typing import Any

from icl.algorithms.fitted import Fitted


@dataclass(frozen=True, kw_only=True)
class Lasso(Fitted):
    """w minimises 1/(2N) Σᵢ (⟨w, xᵢ⟩ − yᵢ)² + alpha ‖w‖₁, without intercept; alpha = 0.01 was best in the source."""

    alpha: float = 0.01
    max_iterations: int = 100_000

    def __post_init__(self) -> None:
        if not (self.alpha > 0 and math.isfinite(self.alpha)):
            raise ValueError(f"alpha={self.alpha} must be > 0 and finite (0 is least_squares)")

    def regressor(self) -> Any:
        from sklearn.linear_model import Lasso as Regressor

        return Regressor(alpha=self.alpha, fit_intercept=False, max_iter=self.max_iterations)
