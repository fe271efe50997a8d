"""A linear classifier of the query: the last layer of a language model alone.

References:
    Kunstner, Yadav, Milligan, Schmidt, Bietti 2024, arXiv:2402.19449
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from icl.core import Prompt
from icl.rng import Draw


class LinearSoftmax(nn.Module):
    """Logits W x_query; W is (M, V, D), zero at first. The context is not read; entry 0 of the trajectory is zero."""

    def __init__(
        self,
        *,
        dim: int,
        n_labels: int,
        n_seeds: int = 1,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        for name, size in {"dim": dim, "n_labels": n_labels, "n_seeds": n_seeds}.items():
            if size < 1:
                raise ValueError(f"{name}={size} must be >= 1")
        self.W = nn.Parameter(torch.zeros(n_seeds, n_labels, dim, device=device, dtype=dtype))

    @torch.no_grad()
    def reset(self, draw: Draw) -> None:
        """First values; nothing is drawn."""
        self.W.zero_()

    def forward(self, prompt: Prompt, *, steps: int | None = None) -> Float[Tensor, "T #M B V"]:
        steps = 1 if steps is None else steps
        if steps not in (0, 1):
            raise ValueError(f"steps={steps} must be 0 or 1: it is one layer")
        guess = self.last(prompt)
        return torch.stack([torch.zeros_like(guess), guess][: steps + 1])

    def last(self, prompt: Prompt) -> Float[Tensor, "M B V"]:
        return prompt.x_query @ self.W.mT
