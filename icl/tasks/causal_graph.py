"""Sequences whose tokens depend on earlier ones through a latent causal graph, with a new transition table a prompt.

References:
    Nichani, Damian, Lee 2024, How transformers learn causal structure with gradient descent, arXiv:2402.14735
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import one_hot

from icl.constants import there
from icl.core import Prompt, Sample
from icl.rng import Draw
from icl.tasks import parent_maps

LEAST = 1e-30  # a Gamma(0.1) number underflows in float32; a row of zeros would be no distribution


@dataclass(frozen=True, kw_only=True)
class CausalGraph:
    """Tokens x_0 .. x_{N−1} of a vocabulary of S = `dim`, and a query x_N, one-hot. Every prompt has its own π:

        π[s, ·] ~ Dirichlet(α 1),    x_i ~ μ if i is a root, else π[x_{p(i)}, ·],    x_N ~ Uniform,
        target = π[x_N, ·],          μ the stationary distribution of π

    `graph` is "chain" (p(i) = i − 1, an in-context Markov chain), "pairs" (odd tokens follow even ones),
    "random_tree" (p(i) uniform on −1..i−1, another tree a seed) or written out, one parent a position, −1 for a root.
    With `n_parents` k > 1 π has Sᵏ rows, a token that is no root has k parents, roots are uniform, and the target is
    π[x_{N−k+1}, .., x_N, ·]. Labels of the context do not exist: y has size 0.
    """

    dim: int
    n_context: int
    graph: str | Sequence[Any] = "chain"
    n_parents: int = 1
    concentration: float = 0.1

    def __post_init__(self) -> None:
        for name, low in (("dim", 2), ("n_context", 1), ("n_parents", 1)):
            if getattr(self, name) < low:
                raise ValueError(f"{name}={getattr(self, name)} must be >= {low}")
        if not (self.concentration > 0 and math.isfinite(self.concentration)):
            raise ValueError(f"concentration={self.concentration} must be > 0 and finite")
        if self.n_context < self.n_parents:
            raise ValueError(f"n_context={self.n_context} must be >= n_parents={self.n_parents}")
        if isinstance(self.graph, str) and self.graph not in parent_maps.GRAPHS:
            raise ValueError(f"graph={self.graph!r} must be one of {', '.join(parent_maps.GRAPHS)}, or be written out")
        if self.graph == "random_tree" and self.n_parents > 1:
            raise ValueError(f"n_parents={self.n_parents} must be 1 for graph=random_tree")
        _ = self._fixed

    @cached_property
    def _fixed(self) -> Int[Tensor, "N K"] | None:
        if not isinstance(self.graph, str):
            return parent_maps.read(self.graph, self.n_context, self.n_parents)
        if self.graph == "random_tree":
            return None
        return parent_maps.named(self.graph, self.n_context, self.n_parents)

    @property
    def own_law(self) -> bool:
        """Whether every seed has a law of its own, so that it must be measured on prompts of its own."""
        return self._fixed is None

    def parents(self, draw: Draw) -> Int[Tensor, "#M N K"]:
        """The graph of every member: that of its seed, at every step."""
        if self._fixed is not None:
            return there(self._fixed, draw.device)[None]
        return parent_maps.random_tree(draw.at(0, "graph").uniform(self.n_context))

    def sample(self, batch_size: int, draw: Draw) -> Sample:
        S, N, K = self.dim, self.n_context, self.n_parents
        weights = draw.gamma(self.concentration, batch_size, S**K, S).clamp_(min=LEAST)
        pi = weights / weights.sum(-1, keepdim=True)
        roots = stationary(pi) if K == 1 else torch.full_like(pi[:, :, 0], 1 / S)
        u = draw.uniform(batch_size, N)
        query = draw.integers(S, batch_size)
        parents = self.parents(draw).expand(len(draw.seeds), N, K)
        tokens = torch.zeros(*u.shape, dtype=torch.int64, device=u.device)
        steps, first = pi.cumsum(-1)[..., :-1], roots.cumsum(-1)[..., :-1]
        for i in range(N):  # a token needs its parents
            at = parents[:, i].clamp(min=0)[:, None].expand(-1, batch_size, -1)
            law = torch.where((parents[:, i, :1] < 0)[:, :, None], first, _row(steps, tokens.gather(2, at)))
            tokens[:, :, i] = (u[:, :, i, None] > law).sum(-1)
        asked = torch.cat([tokens[:, :, N - K + 1 :], query[:, :, None]], 2)
        x, x_query = (one_hot(t, S).to(pi.dtype) for t in (tokens, query))
        return Sample(Prompt(x, x.new_zeros(*x.shape[:3], 0), x_query), _row(pi, asked), None)


def _row(table: Float[Tensor, "M B R C"], values: Int[Tensor, "M B K"]) -> Float[Tensor, "M B C"]:
    """Row (v_1, .., v_K) of a table with Sᴷ rows."""
    n_rows, index = table.shape[2], values[..., 0]
    size = round(n_rows ** (1 / values.shape[-1]))
    for value in values.unbind(-1)[1:]:
        index = index * size + value
    return table.gather(2, index[:, :, None, None].expand(-1, -1, 1, table.shape[3]))[:, :, 0]


def stationary(pi: Float[Tensor, "*b S S"]) -> Float[Tensor, "*b S"]:
    """μ = μ π. The chain is made lazy, which changes no μ and ends periods, and squared 12 times.

    The squares are sums of elementwise products: thousands of tiny matrices are slow as matrix products.
    """
    power = 0.5 * (pi + torch.eye(pi.shape[-1], device=pi.device, dtype=pi.dtype))
    for _ in range(12):
        power = (power[..., :, :, None] * power[..., None, :, :]).sum(-2)
    mean = power.mean(-2)
    return mean / mean.sum(-1, keepdim=True)
