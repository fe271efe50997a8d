"""Softmax attention with one query and a fixed head, its logits given by a vector, a matrix, or a product of two.

References:
    Tarzanagh, Li, Zhang, Oymak 2023, Max-margin token selection in attention mechanism, arXiv:2306.13596
    Tarzanagh, Li, Thrampoulidis, Oymak 2023, Transformers as support vector machines, arXiv:2308.16898
"""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from icl.core import Prompt
from icl.rng import Draw

FORMS = ("p", "W", "KQ")


class SingleQueryAttention(nn.Module):
    """f = Σ_t s_t ⟨v, x_t⟩,   s = softmax over t of x_tᵀ W z:

        form "p"    z = 1, W = p a vector          form "W"    z = x_query, W a matrix          form "KQ"    W = K Qᵀ

    v is fixed, drawn from N(0, I) with the first values; p and W begin at zero, K and Q at N(0, init_std²). Entry 0 of
    the trajectory is zero.

    `relative` takes the logits from that of the largest token, (x_t − x_a)ᵀ W z. The function is the same, its gradient
    in floating point is not: the usual form is a sum in which the part of the selected token is lost by cancellation
    once 1 − s_a falls below the precision, and what is left points nowhere.
    """

    v: Tensor

    def __init__(
        self,
        *,
        dim: int,
        form: Literal["p", "W", "KQ"] = "p",
        key_size: int | None = None,
        init_std: float = 0.1,
        relative: bool = True,
        n_seeds: int = 1,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        for name, size in {"dim": dim, "key_size": key_size, "n_seeds": n_seeds}.items():
            if size is not None and size < 1:
                raise ValueError(f"{name}={size} must be >= 1")
        if form not in FORMS:
            raise ValueError(f"form={form!r} must be one of {', '.join(FORMS)}")
        if not (init_std >= 0 and math.isfinite(init_std)):
            raise ValueError(f"init_std={init_std} must be >= 0 and finite")
        self.dim, self.form, self.init_std, self.relative = dim, form, init_std, relative

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(n_seeds, *shape, device=device, dtype=dtype)

        self.register_buffer("v", zeros(dim))
        if form == "KQ":
            self.K, self.Q = (nn.Parameter(zeros(dim, key_size or dim)) for _ in range(2))
        else:
            self.W = nn.Parameter(zeros(dim, 1 if form == "p" else dim))

    @torch.no_grad()
    def reset(self, draw: Draw) -> None:
        self.v.copy_(draw.normal(self.dim))
        for weight in self.parameters():
            scale = self.init_std if self.form == "KQ" else 0.0
            weight.copy_(scale * draw.normal(*weight.shape[1:]))

    def merged(self) -> Float[Tensor, "M D k"]:
        """W, whatever its form; k = 1 for a vector."""
        return self.K @ self.Q.mT if self.form == "KQ" else self.W

    def query(self, prompt: Prompt) -> Float[Tensor, "#M B k"]:
        """z."""
        return torch.ones_like(prompt.x_query[..., :1]) if self.form == "p" else prompt.x_query

    def logits(self, prompt: Prompt) -> Float[Tensor, "M B T"]:
        """x_tᵀ W z, from those of the largest token if `relative`."""
        turned = torch.einsum("mdk,mbk->mbd", self.merged(), self.query(prompt))
        x = prompt.x
        if self.relative:
            with torch.no_grad():
                largest = (x * turned[:, :, None]).sum(-1).argmax(-1)
            x = x.expand(turned.shape[0], *x.shape[1:])
            x = x - x.gather(2, largest[:, :, None, None].expand(-1, -1, 1, x.shape[-1]))
        return (x * turned[:, :, None]).sum(-1)

    def scores(self, prompt: Prompt) -> Float[Tensor, "M B T"]:
        """⟨v, x_t⟩."""
        return torch.einsum("mbtd,md->mbt", prompt.x, self.v)

    def forward(self, prompt: Prompt, *, steps: int | None = None) -> Float[Tensor, "T #M B"]:
        steps = 1 if steps is None else steps
        if steps not in (0, 1):
            raise ValueError(f"steps={steps} must be 0 or 1: it is one layer")
        guess = self.last(prompt)
        return torch.stack([torch.zeros_like(guess), guess][: steps + 1])

    def last(self, prompt: Prompt) -> Float[Tensor, "#M B"]:
        return (self.logits(prompt).softmax(-1) * self.scores(prompt)).sum(-1)
