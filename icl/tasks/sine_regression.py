"""In-context regression on sine waves, one covariate: no linear map of x fits them.

References:
    von Oswald et al. 2022, Transformers learn in-context by gradient descent, arXiv:2212.07677
    Finn, Abbeel, Levine 2017, Model-agnostic meta-learning, arXiv:1703.03400 (the waves)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from icl.core import Prompt, Sample
from icl.rng import Draw


@dataclass(frozen=True, kw_only=True)
class SineRegression:
    """Prompts (x_i, y_i) of a wave drawn anew for every prompt, without noise:

        y = a sin(x + φ),      x ~ U(−r, r),   a = a_0 + (a_1 − a_0) u,   φ = π v,   u, v ~ U(0, 1)

    `family="one_parameter"` has v = u, as the reference code has it (one random key serves both draws), and
    "independent" has them independent, as the paper writes. r is `input_range`, (a_0, a_1) `amplitudes`.
    Either way y is a combination of sin x and cos x, so two points without noise would determine it.
    `dim` is 1 and `n_outputs` null: they are what a model asks every task for.
    """

    n_context: int
    family: Literal["one_parameter", "independent"] = "one_parameter"
    amplitudes: Sequence[float] = (0.1, 0.5)
    input_range: float = 5.0
    dim: int = 1
    n_outputs: None = None

    def __post_init__(self) -> None:
        if self.n_context < 1:
            raise ValueError(f"n_context={self.n_context} must be >= 1")
        if self.family not in ("one_parameter", "independent"):
            raise ValueError(f"family={self.family!r} must be one_parameter or independent")
        if len(self.amplitudes) != 2 or not 0 <= self.amplitudes[0] <= self.amplitudes[1] < math.inf:
            raise ValueError(f"amplitudes={list(self.amplitudes)} must be two finite numbers, 0 <= low <= high")
        if not 0 < self.input_range < math.inf:
            raise ValueError(f"input_range={self.input_range} must be > 0 and finite")
        if self.dim != 1 or self.n_outputs is not None:
            raise ValueError(f"dim={self.dim}, n_outputs={self.n_outputs} must be 1 and null: a wave has one covariate")

    def sample(self, batch_size: int, draw: Draw) -> Sample:
        """Prompts of the members of `draw`; as with linear regression, drawn with the batch as the last axis."""
        x = draw.uniform(self.n_context + 1, batch_size).mul_(2).sub_(1).mul_(self.input_range)  # (M, N+1, B)
        u = draw.uniform(1, batch_size)
        v = u if self.family == "one_parameter" else draw.uniform(1, batch_size)
        low, high = self.amplitudes
        label = (low + (high - low) * u) * torch.sin(x + math.pi * v)
        x, label = x.mT, label.mT
        return Sample(Prompt(x[:, :, :-1, None], label[:, :, :-1], x[:, :, -1:]), label[:, :, -1], None)

    def zero_half_mse(self) -> float:
        """½ E y² = ¼ (E a² − E[cos 2x] E[a² cos 2φ]), of the predictor that says 0.

        E cos 2φ = 0, and with φ = πu the amplitude's part in u² leaves E a² cos 2φ = (a_1 − a_0)² / 2π².
        """
        low, high = self.amplitudes
        square = (low**2 + low * high + high**2) / 3
        shared = (high - low) ** 2 / (2 * math.pi**2) if self.family == "one_parameter" else 0.0
        return (square - math.sin(2 * self.input_range) / (2 * self.input_range) * shared) / 4

    def known_half_mse(self) -> dict[str, float]:
        """Every exact loss that is known, by name."""
        return {"zero": self.zero_half_mse()}
