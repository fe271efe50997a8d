"""Kernel regression: labels weighted by a Gaussian of the distance, as softmax attention with one head does.

References:
    Nadaraya 1964, On estimating regression; Watson 1964, Smooth regression analysis.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from icl.algorithms.nearest_neighbours import WeightedLabels


@dataclass(frozen=True, kw_only=True)
class KernelRegression(WeightedLabels):
    """ŷ = Σᵢ softmaxᵢ(−‖xᵢ − x_query‖² / (2 bandwidth²)) yᵢ."""

    bandwidth: float = 1.0

    def __post_init__(self) -> None:
        if not (self.bandwidth > 0 and math.isfinite(self.bandwidth)):
            raise ValueError(f"bandwidth={self.bandwidth} must be > 0 and finite")

    def shares(self, distance: Float[Tensor, "*batch Q N"], seen: Bool[Tensor, "Q N"]) -> Float[Tensor, "*batch Q N"]:
        logits = (-distance / (2 * self.bandwidth**2)).masked_fill(~seen, -torch.inf)
        return torch.softmax(logits, dim=-1).nan_to_num(nan=0.0)  # nothing seen: no weight on anything
