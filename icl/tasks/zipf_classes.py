"""Class imbalance with a heavy tail, in its smallest form: the input says the class, and classes have Zipf frequencies.

References:
    Kunstner, Yadav, Milligan, Schmidt, Bietti 2024, Heavy-tailed class imbalance and why Adam outperforms gradient
        descent on language models, arXiv:2402.19449
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import one_hot

from icl.constants import there
from icl.core import Prompt, Sample
from icl.rng import Draw


@dataclass(frozen=True, kw_only=True)
class ZipfClasses:
    """x_query = target = e_k with k ~ π, π_k ∝ k^−a for k = 1..K, K = `dim`, a = `exponent`. There is no context."""

    dim: int
    exponent: float = 1.0
    n_context: int = 0

    def __post_init__(self) -> None:
        check_zipf(self.dim, self.exponent, self.n_context)

    def frequencies(self) -> Float[Tensor, "V"]:
        """π, in float64."""
        return zipf(self.dim, self.exponent)

    def sample(self, batch_size: int, draw: Draw) -> Sample:
        classes = torch.searchsorted(there(self._cumulative, draw.device), draw.uniform(batch_size).double()).clamp(
            max=self.dim - 1
        )
        label = one_hot(classes, self.dim).to(draw.dtype)
        return from_tables(label, label)

    @cached_property
    def _cumulative(self) -> Float[Tensor, "V"]:
        return self.frequencies().cumsum(0)

    def training_set(self, n_examples: int, draw: Draw) -> Sample:
        """The whole distribution, not `n_examples` of it: every class once, its target of mass K π_k."""
        every = torch.eye(self.dim, device=draw.device, dtype=draw.dtype)
        weights = self.dim * self.frequencies().to(every)
        return from_tables(every[None], (weights[:, None] * every)[None])


def check_zipf(dim: int, exponent: float, n_context: int) -> None:
    """Raises ValueError for sizes that make no Zipf distribution."""
    if dim < 2:
        raise ValueError(f"dim={dim} must be >= 2")
    if not (exponent >= 0 and math.isfinite(exponent)):
        raise ValueError(f"exponent={exponent} must be >= 0 and finite")
    if n_context != 0:
        raise ValueError(f"n_context={n_context} must be 0: there is no context")


def zipf(n: int, exponent: float) -> Float[Tensor, "V"]:
    weights = torch.arange(1, n + 1, dtype=torch.float64) ** -exponent
    return weights / weights.sum()


def from_tables(x: Float[Tensor, "#M B V"], target: Float[Tensor, "#M B V"]) -> Sample:
    """Prompts that are a query alone."""
    empty = x.new_zeros(*x.shape[:2], 0, x.shape[-1])
    return Sample(Prompt(empty, empty[..., :0], x), target, None)
