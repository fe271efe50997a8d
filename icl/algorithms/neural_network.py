"""A small network trained on the context alone.

References:
    Garg et al. 2022, What can transformers learn in-context?, arXiv:2208.01066 (a baseline for ReLU networks)
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from icl.core import Prompt
from icl.rng import Draw


@dataclass(frozen=True, kw_only=True)
class NeuralNetwork:
    """ŷ_t = ⟨a_t, relu(W_t x_query + b_t)⟩ + c_t after t full-batch Adam steps on 1/N Σᵢ (f(xᵢ) − yᵢ)².

    Every prompt trains a network of its own, all of them at once: Adam works entry by entry, so one optimiser over
    tensors with a prompt axis is one a prompt. First values of W and b are those of torch.nn.Linear, the same for
    every prompt (a function of `seed`); a and c start at 0, so entry 0 is 0 (the source draws all of them).
    Without any pair the guess stays 0.
    """

    n_hidden: int = 100
    lr: float = 5e-3
    steps: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n_hidden < 1 or self.steps < 0 or not (self.lr > 0 and math.isfinite(self.lr)):
            raise ValueError(
                f"n_hidden={self.n_hidden} must be >= 1, steps={self.steps} >= 0 and lr={self.lr} > 0 and finite"
            )

    def __call__(self, prompt: Prompt, *, steps: int | None = None) -> Float[Tensor, "T #M B"]:
        shown = torch.ones_like(prompt.y)
        return self._train(prompt.x, prompt.y, shown, prompt.x_query, self.steps if steps is None else steps)

    def every_prefix(self, x: Float[Tensor, "#M B P D"], y: Float[Tensor, "#M B P"]) -> Float[Tensor, "T #M B P"]:
        """Entry i is the guess of y_i from the pairs before i: a network a prefix, all of them at once."""
        n_members, n_prompts, n_positions, dim = x.shape
        seen = torch.ones(n_positions, n_positions).tril(-1).to(x).expand(n_members, n_prompts, -1, -1)

        def rows(t: Tensor) -> Tensor:
            return t[:, :, None].expand(-1, -1, n_positions, *t.shape[2:]).flatten(1, 2)

        query = x.reshape(n_members, -1, dim)
        found = self._train(rows(x), rows(y), seen.flatten(1, 2), query, self.steps)
        return found.unflatten(2, (n_prompts, n_positions))

    def _train(
        self, x: Float[Tensor, "#M K N D"], y: Float[Tensor, "#M K N"], shown: Float[Tensor, "#M K N"],
        query: Float[Tensor, "#M K D"], steps: int,
    ) -> Float[Tensor, "T #M K"]:  # fmt: skip
        if steps < 0:
            raise ValueError(f"steps={steps} must be >= 0")
        weights = self._first_values(query)
        optimizer = torch.optim.Adam(weights, lr=self.lr)
        share = shown / shown.sum(-1, keepdim=True).clamp(min=1)
        trajectory = [_network(weights, query[:, :, None])[:, :, 0].detach()]
        for _ in range(steps):
            with torch.enable_grad():
                loss = (share * (_network(weights, x) - y).square()).sum()
                gradients = torch.autograd.grad(loss, weights)
            for weight, gradient in zip(weights, gradients):
                weight.grad = gradient
            optimizer.step()
            trajectory.append(_network(weights, query[:, :, None])[:, :, 0].detach())
        return torch.stack(trajectory)

    def _first_values(self, query: Float[Tensor, "#M K D"]) -> list[Tensor]:
        """W, b, a, c, each with a leading axis of members and one of prompts."""
        n_members, n_prompts, dim = query.shape
        draw = Draw([self.seed], "network", dtype=torch.float64)
        W, b = ((2 * draw.uniform(*shape) - 1) / math.sqrt(dim) for shape in ((self.n_hidden, dim), (self.n_hidden,)))
        values = (W[0], b[0], torch.zeros(self.n_hidden), torch.zeros(()))
        return [v.to(query).expand(n_members, n_prompts, *v.shape).clone().requires_grad_(True) for v in values]


def _network(weights: list[Tensor], x: Float[Tensor, "#M K N D"]) -> Float[Tensor, "#M K N"]:
    W, b, a, c = weights
    hidden = (x @ W.mT + b[:, :, None]).relu()
    return (hidden @ a[..., None])[..., 0] + c[..., None]
