"""Candidates compared two at a time on the prompts that both were asked, with intervals over prompts."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from icl.comparisons.walk import N_BLOCKS, resampling_weights
from icl.rng import Draw


@dataclass(frozen=True)
class Resamples:
    """The weights of the bootstrap, one set for every number of blocks; `level` is left out at each end."""

    level: float
    draw: Draw
    known: dict[int, Float[Tensor, "R K"]] = field(default_factory=dict)

    def ends(self, values: Float[Tensor, "P B"]) -> Float[Tensor, "2 P"]:
        """The ends of the interval of the mean of every row: blocks of neighbouring prompts are resampled."""
        n_prompts = values.shape[1]
        n_blocks = min(N_BLOCKS, n_prompts)
        if n_blocks not in self.known:
            self.known[n_blocks] = resampling_weights(n_blocks, self.draw)
        weights = self.known[n_blocks]
        block = torch.arange(n_prompts) * n_blocks // n_prompts
        sums = torch.zeros(len(values), n_blocks, dtype=torch.float64).index_add_(1, block, values)
        means = sums @ weights.T / (weights @ block.bincount().double())
        return torch.quantile(means, torch.tensor([self.level, 1 - self.level], dtype=torch.float64), dim=1)


@dataclass(frozen=True)
class Paired:
    """The distances of C candidates to one model; nan on prompts that a candidate was not asked."""

    distances: Float[Tensor, "C B"]
    resamples: Resamples

    def nearest(self) -> int:
        """The candidate with the least mean, two at a time."""
        best = 0
        for c in range(1, len(self.distances)):
            if self._difference(c, best).mean() < 0:
                best = c
        return best

    def mean(self, c: int, where: int) -> Float[Tensor, ""]:
        """Of candidate `c` on the prompts that `where` was asked too."""
        both = self.distances[where].isfinite() & self.distances[c].isfinite()
        return self.distances[c][both].mean()

    def farther(
        self, pairs: Sequence[tuple[int, int]]
    ) -> tuple[Float[Tensor, "P"], Float[Tensor, "P"], Float[Tensor, "P"]]:
        """(mean, low, high) of how much farther the second of every pair is than the first."""
        mean, low, high = (torch.zeros(len(pairs), dtype=torch.float64) for _ in range(3))
        differences = [self._difference(second, first) for first, second in pairs]
        for n in sorted({len(d) for d in differences}):
            rows = [p for p, d in enumerate(differences) if len(d) == n]
            own = torch.stack([differences[p] for p in rows])
            mean[rows] = own.mean(1)
            low[rows], high[rows] = self.resamples.ends(own)
        return mean, low, high

    def _difference(self, one: int, other: int) -> Float[Tensor, "b"]:
        difference = self.distances[one] - self.distances[other]
        return difference[difference.isfinite()]
