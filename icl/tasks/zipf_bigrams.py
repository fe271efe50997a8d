"""Bigrams of a random Markov chain over a vocabulary whose words have Zipf frequencies: a language model in small.

References:
    Kunstner, Yadav, Milligan, Schmidt, Bietti 2024, Heavy-tailed class imbalance and why Adam outperforms gradient
        descent on language models, arXiv:2402.19449
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import one_hot

from icl.core import Sample
from icl.rng import Draw
from icl.tasks.zipf_classes import check_zipf, from_tables, zipf


@dataclass(frozen=True, kw_only=True)
class ZipfBigrams:
    """Words 1..V, V = `dim`; a word a and the word b after it, one-hot, of a chain that every seed has of its own:

        P(b | a) ∝ b^−a₀ exp(`spread` g_ab),  g_ab ~ N(0, 1),     a ~ the stationary distribution of P

    Frequencies are nearly Zipf's; `spread` is what a word says about the next. Bigrams are drawn independently.
    """

    own_law: ClassVar[bool] = True  # a chain a seed

    dim: int
    exponent: float = 1.0
    spread: float = 1.5
    n_context: int = 0

    def __post_init__(self) -> None:
        check_zipf(self.dim, self.exponent, self.n_context)
        if not self.spread >= 0:
            raise ValueError(f"spread={self.spread} must be >= 0")

    def chain(self, draw: Draw) -> tuple[Float[Tensor, "M V V"], Float[Tensor, "M V"]]:
        """(P, μ) of every seed, in float64: rows are the word before."""
        g = draw.at(0, "chain").normal(self.dim, self.dim).double()
        P = (zipf(self.dim, self.exponent).log().to(g) + self.spread * g).softmax(-1)
        mu = torch.full_like(P[:, 0], 1 / self.dim)
        for _ in range(120):  # mixes in a few steps: all rows are near the frequencies
            mu = torch.einsum("ma,mab->mb", mu, P)
        return P, mu / mu.sum(-1, keepdim=True)

    def words(self, n: int, draw: Draw) -> Tensor:
        """n bigrams a member as numbers a V + b, (M, n)."""
        P, mu = self.chain(draw)
        joint = (mu[:, :, None] * P).flatten(1).cumsum(1)
        u = draw.uniform(n).double() + draw.uniform(n).double() * 2.0**-24  # finer than float32
        return torch.searchsorted(joint / joint[:, -1:], u).clamp(max=self.dim**2 - 1)

    def sample(self, batch_size: int, draw: Draw) -> Sample:
        pairs = self.words(batch_size, draw)
        before, after = (one_hot(word, self.dim).to(draw.dtype) for word in (pairs // self.dim, pairs % self.dim))
        return from_tables(before, after)

    def training_set(self, n_examples: int, draw: Draw) -> Sample:
        """n bigrams put together: every word once as context, its target V / n times the counts of what follows."""
        counts = torch.stack([row.bincount(minlength=self.dim**2) for row in self.words(n_examples, draw)])
        target = counts.view(-1, self.dim, self.dim).to(draw.dtype) * (self.dim / n_examples)
        every = torch.eye(self.dim, device=draw.device, dtype=draw.dtype)[None]
        return from_tables(every, target)
