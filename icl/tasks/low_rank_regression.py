"""In-context regression on several outputs by a map of low rank: what a low-rank adapter can represent.

References:
    Zhang, Liu, Chen 2025, LoRA-One: one-step full gradient could suffice for fine-tuning, arXiv:2502.01235
"""

import math
from dataclasses import dataclass

import torch

from icl.core import Prompt, Sample
from icl.rng import Draw


@dataclass(frozen=True, kw_only=True)
class LowRankRegression:
    """y = Wᵀ x + noise_std ε, W = weight_scale U Vᵀ / √rank of shape (D, O), U, V and x standard normal; a W a prompt.

    The target is Wᵀ x_query, without noise.
    """

    dim: int
    n_outputs: int
    n_context: int
    rank: int = 4
    weight_scale: float = 1.0
    noise_std: float = 0.0

    def __post_init__(self) -> None:
        for name in ("dim", "n_outputs", "n_context"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be >= 1")
        if not 1 <= self.rank <= min(self.dim, self.n_outputs):
            raise ValueError(
                f"rank={self.rank} must be in 1..{min(self.dim, self.n_outputs)}, the smaller of dim and n_outputs"
            )
        for name in ("weight_scale", "noise_std"):
            if not (getattr(self, name) >= 0 and math.isfinite(getattr(self, name))):
                raise ValueError(f"{name}={getattr(self, name)} must be a finite number >= 0")

    def sample(self, batch_size: int, draw: Draw) -> Sample:
        x = draw.normal(batch_size, self.n_context + 1, self.dim)
        U, V = draw.normal(batch_size, self.dim, self.rank), draw.normal(batch_size, self.rank, self.n_outputs)
        W = self.weight_scale / math.sqrt(self.rank) * U @ V
        label = torch.einsum("mbnd,mbdo->mbno", x, W)
        y, target = label[:, :, :-1], label[:, :, -1]
        if self.noise_std > 0:
            y = y + self.noise_std * draw.normal(*y.shape[1:])
        return Sample(Prompt(x[:, :, :-1], y, x[:, :, -1]), target, W)
