"""One step of one linear self-attention layer as one would write it with torch.nn and torch.optim: a bank's twin.

References:
    von Oswald et al. 2022, Transformers learn in-context by gradient descent, arXiv:2212.07677
"""

from collections.abc import Callable
from itertools import count

import torch
from torch import Tensor, nn

from icl.rng import Draw
from icl.tasks.linear_regression import LinearRegression
from icl.training.batches import DATA


class PlainLinearAttention(nn.Module):
    """e_j ← e_j + W_O Σᵢ (W_V e_i) (W_K e_i)ᵀ (W_Q e_j) for every token; the guess is minus the query's y."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        size = dim + 1
        self.W_K, self.W_Q, self.W_V, self.W_O = (nn.Linear(size, size, bias=False) for _ in range(4))
        for weight in self.parameters():
            nn.init.trunc_normal_(weight, std=(0.002 / size) ** 0.5)

    def forward(self, x: Tensor, y: Tensor, x_query: Tensor) -> Tensor:
        context = torch.cat((x, y[..., None]), 2)
        query = torch.cat((x_query, torch.zeros_like(x_query[:, :1])), 1)
        tokens = torch.cat((context, query[:, None]), 1)
        scores = self.W_Q(tokens) @ self.W_K(context).mT
        return -(tokens + self.W_O(scores @ self.W_V(context)))[:, -1, -1]


def plain_step(
    task: LinearRegression, *, batch_size: int, clip: float, device: str, dtype: torch.dtype
) -> Callable[[], None]:
    """Prompts, loss, gradient, clipping by the norm, Adam: a step at each call."""
    model = PlainLinearAttention(task.dim).to(device, dtype)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    draw, numbers = Draw([0], DATA, device=device, dtype=dtype), count()

    def call() -> None:
        sample = task.sample(batch_size, draw.at(next(numbers)))
        prompt = sample.prompt
        optimizer.zero_grad()
        (model(prompt.x[0], prompt.y[0], prompt.x_query[0]) - sample.target[0]).square().mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()

    return call
