"""The Bayes reference of sequences with a causal graph: it knows the graph and counts transitions.

References:
    Nichani, Damian, Lee 2024, How transformers learn causal structure with gradient descent, arXiv:2402.14735
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from icl.core import Prompt


@dataclass(frozen=True, kw_only=True)
class GraphPosterior:
    """Entry 0 is 0, the uniform guess; entry 1 the log of the posterior mean of π[query] under Dirichlet(α):

        p_v = (α + #{i : x_{p(i)} = query, x_i = v}) / (S α + #{i : x_{p(i)} = query}),    i over non-roots

    `parents` is (N, k) or (M, N, k); with k parents the query is the last k tokens. What the roots say about π,
    through its stationary distribution, is not used, as in the source.
    """

    order_matters: ClassVar[bool] = True
    parents: Int[Tensor, "*m N K"]
    concentration: float

    def __post_init__(self) -> None:
        if self.concentration <= 0:
            raise ValueError(f"concentration={self.concentration} must be > 0")

    @classmethod
    def best_for(cls, *, task: Any) -> "GraphPosterior":
        """For a task whose seeds share one graph.

        Raises:
            ValueError: it has no graph, or every seed has its own.
        """
        if not hasattr(task, "parents"):
            raise ValueError(f"graph_posterior needs task=causal_graph, not {type(task).__name__}")
        if task.own_law:
            raise ValueError(f"graph={task.graph} differs by seed; graph_posterior needs one that all seeds share")
        return cls(parents=task._fixed, concentration=task.concentration)

    def __call__(self, prompt: Prompt, *, steps: int | None = None) -> Float[Tensor, "T #M B V"]:
        parents = self.parents.to(prompt.x.device)
        parents = parents if parents.ndim == 3 else parents[None]
        counts = matching(prompt, parents).to(prompt.x) @ prompt.x  # (M, B, 1, V)
        posterior = self.concentration + counts[:, :, 0]
        guess = (posterior / posterior.sum(-1, keepdim=True)).log()
        return torch.stack([torch.zeros_like(guess), guess][: 2 if steps is None else steps + 1])


def matching(prompt: Prompt, parents: Int[Tensor, "#M N K"]) -> Float[Tensor, "M B 1 N"]:
    """1 where position i is no root and its parents hold the query (the last k tokens), else 0."""
    N, K = prompt.x.shape[2], parents.shape[-1]
    parents = parents[:, :N]
    last = torch.cat([prompt.x[:, :, N - K + 1 :], prompt.x_query[:, :, None]], 2)  # (M, B, K, S)
    chosen = torch.nn.functional.one_hot(parents.clamp(min=0), max(N, 1)).to(prompt.x)  # (M, N, K, N)
    values = torch.einsum("mikj,mbjs->mbiks", chosen[..., :N], prompt.x)
    same = torch.einsum("mbiks,mbks->mbik", values, last).prod(-1)
    return (same * (parents[..., 0] >= 0).to(prompt.x)[:, None])[:, :, None]
