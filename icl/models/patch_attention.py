"""One softmax attention layer over the patches of an input, every patch a query, with a linear head: the SignGD toy.

References:
    Li, Huang, Han, Zhou, Suzuki, Zhu, Chen 2025, On the optimization and generalization of two-layer transformers with
        sign gradient descent, arXiv:2410.04870
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from icl.core import Prompt
from icl.rng import Draw


class PatchAttention(nn.Module):
    """f = Σ_l Σ_j s_lj ⟨v_+ − v_−, x_j⟩,    s_lj = softmax over j of ⟨W_Q x_l, W_K x_j⟩,    two patches l, j.

    The head is a difference of two value vectors, one a class, so a step of sign descent moves it by twice the rate.
    W_Q and W_K are (M, K, D) with K = `key_size`, V is (M, 2, D). First values: N(0, init_std²). Entry 0 of the
    trajectory is zero, before any patch was read.
    """

    order_matters = True  # contexts of one patch have one order

    def __init__(
        self,
        *,
        dim: int,
        key_size: int = 8,
        init_std: float = 0.01,
        n_seeds: int = 1,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        for name, size in {"dim": dim, "key_size": key_size, "n_seeds": n_seeds}.items():
            if size < 1:
                raise ValueError(f"{name}={size} must be >= 1")
        if not (init_std >= 0 and math.isfinite(init_std)):
            raise ValueError(f"init_std={init_std} must be >= 0 and finite")
        self.dim, self.key_size, self.init_std = dim, key_size, init_std

        def weight(rows: int) -> nn.Parameter:
            return nn.Parameter(torch.zeros(n_seeds, rows, dim, device=device, dtype=dtype))

        self.W_Q, self.W_K, self.V = weight(key_size), weight(key_size), weight(2)

    @torch.no_grad()
    def reset(self, draw: Draw) -> None:
        for weight in self.parameters():
            weight.copy_(self.init_std * draw.normal(*weight.shape[1:]))

    def forward(self, prompt: Prompt, *, steps: int | None = None) -> Float[Tensor, "T #M B"]:
        steps = 1 if steps is None else steps
        if steps not in (0, 1):
            raise ValueError(f"steps={steps} must be 0 or 1: it is one layer")
        guess = self.last(prompt)
        return torch.stack([torch.zeros_like(guess), guess][: steps + 1])

    def last(self, prompt: Prompt) -> Float[Tensor, "#M B"]:
        x = torch.cat([prompt.x, prompt.x_query[:, :, None]], 2)
        scores = torch.einsum("mbjd,md->mbj", x, self.head())
        return (self.attention(prompt) * scores[:, :, None]).sum((2, 3))

    def head(self) -> Float[Tensor, "M D"]:
        """v_+ − v_−."""
        return self.V[:, 0] - self.V[:, 1]

    def attention(self, prompt: Prompt) -> Float[Tensor, "M B L J"]:
        """s_lj, from patch l to patch j; the query patch is the last."""
        x = torch.cat([prompt.x, prompt.x_query[:, :, None]], 2)
        queries, keys = (torch.einsum("mkd,mbjd->mbjk", W, x) for W in (self.W_Q, self.W_K))
        return (queries @ keys.mT).softmax(-1)
