"""k nearest neighbours and kernel smoothing: guesses that are weighted means of the labels seen.

References:
    Garg et al. 2022, arXiv:2208.01066 (3 neighbours as a baseline); Nadaraya 1964, Watson 1964.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from icl.algorithms.steps import one_answer
from icl.core import Prompt


class WeightedLabels(ABC):
    """ŷ = Σᵢ aᵢ(x_query) yᵢ with weights that sum to one (0 for an empty context). Entry 0 is 0."""

    @abstractmethod
    def shares(self, distance: Float[Tensor, "*batch Q N"], seen: Bool[Tensor, "Q N"]) -> Float[Tensor, "*batch Q N"]:
        """a, from squared distances to the pairs that query q has `seen`; 0 elsewhere."""

    def __call__(self, prompt: Prompt, *, steps: int | None = None) -> Float[Tensor, "T #M B"]:
        distance = (prompt.x - prompt.x_query[:, :, None]).square().sum(-1)[:, :, None]
        seen = torch.ones(1, distance.shape[-1], dtype=torch.bool, device=distance.device)
        return one_answer((self.shares(distance, seen)[:, :, 0] * prompt.y).sum(-1), steps)

    def every_prefix(self, x: Float[Tensor, "#M B P D"], y: Float[Tensor, "#M B P"]) -> Float[Tensor, "T #M B P"]:
        """Entry i is the guess of y_i from the pairs before i; all positions from one matrix of distances."""
        distance = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist").square()
        seen = torch.ones(x.shape[2], x.shape[2], dtype=torch.bool, device=x.device).tril(-1)
        return one_answer(torch.einsum("mbqn,mbn->mbq", self.shares(distance, seen), y), None)


@dataclass(frozen=True, kw_only=True)
class NearestNeighbours(WeightedLabels):
    """The mean label of the min(k, N) pairs whose x is nearest to the query (Euclidean)."""

    k: int = 3

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k={self.k} must be >= 1")

    def shares(self, distance: Float[Tensor, "*batch Q N"], seen: Bool[Tensor, "Q N"]) -> Float[Tensor, "*batch Q N"]:
        k = min(self.k, distance.shape[-1])
        if k == 0:
            return torch.zeros_like(distance)
        nearest = distance.masked_fill(~seen, torch.inf).topk(k, dim=-1, largest=False)
        chosen = nearest.values.isfinite().to(distance)
        weights = torch.zeros_like(distance).scatter_(-1, nearest.indices, chosen)
        return weights / weights.sum(-1, keepdim=True).clamp(min=1)

    def every_prefix(self, x: Float[Tensor, "#M B P D"], y: Float[Tensor, "#M B P"]) -> Float[Tensor, "T #M B P"]:
        """Entry i is the guess of y_i from the pairs before i; distances once, then the labels of the nearest."""
        distance = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
        n_positions = x.shape[2]
        later = torch.ones(n_positions, n_positions, dtype=torch.bool, device=x.device).triu()
        k = min(self.k, n_positions)
        nearest = distance.masked_fill_(later, torch.inf).topk(k, dim=-1, largest=False, sorted=False)
        labels = y[:, :, None].expand(distance.shape).gather(-1, nearest.indices)
        n_seen = torch.arange(n_positions, device=x.device).clamp(1, k)
        return one_answer(torch.where(nearest.values.isfinite(), labels, 0).sum(-1) / n_seen, None)
