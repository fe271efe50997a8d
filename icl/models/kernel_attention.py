"""One layer of attention with a softmax or a Gaussian kernel, of which some matrices are trained and the rest fixed.

References:
    Song, Han, Zhang, Ding, Hong 2024, Unraveling the gradient descent dynamics of transformers, arXiv:2411.07538
"""

import math
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from icl.core import Prompt
from icl.rng import Draw

TRAINED = {"query": ("W_Q",), "value": ("W_V",), "all": ("W_Q", "W_K", "W_V", "a")}
NAMES = TRAINED["all"]


class KernelAttention(nn.Module):
    """f = Σᵢ ⟨aᵢ, Σⱼ S_ij W_V xⱼ⟩ over all tokens i, j, the query among them; the labels of the context are not read.

        softmax     S_ij = softmax_j ⟨W_Q xᵢ, W_K xⱼ⟩ / √K          gaussian    S_ij = exp(−|W_Q xᵢ − W_K xⱼ|² / 2)

    The Gaussian is not normalised. `trained` names what learns: query (the hard case: f is not convex in W_Q), value
    (least squares), all. The rest keeps its first values, as a buffer. First values: W_Q, W_K, W_V ~ N(0, s²/D) with
    s = `init_scale`, aᵢ ~ N(0, I). One step; entry 0 of the trajectory is 0.
    """

    W_Q: Tensor
    W_K: Tensor
    W_V: Tensor
    a: Tensor
    order_matters: ClassVar[bool] = True  # every position has its own read-out aᵢ

    def __init__(
        self,
        *,
        dim: int,
        n_context: int,
        key_size: int = 32,
        kernel: Literal["softmax", "gaussian"] = "gaussian",
        trained: Literal["query", "value", "all"] = "query",
        init_scale: float = 1.7,
        n_seeds: int = 1,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        for name, size in {"dim": dim, "n_context": n_context, "key_size": key_size, "n_seeds": n_seeds}.items():
            if size < 1:
                raise ValueError(f"{name}={size} must be >= 1")
        if kernel not in ("softmax", "gaussian") or trained not in TRAINED:
            raise ValueError(f"kernel={kernel}, trained={trained} must be softmax or gaussian, query, value or all")
        self.kernel, self.init_scale, self.n_seeds = kernel, init_scale, n_seeds
        for name in NAMES:
            shape = (n_context + 1, key_size) if name == "a" else (key_size, dim)
            values = torch.zeros(n_seeds, *shape, device=device, dtype=dtype)
            if name in TRAINED[trained]:
                self.register_parameter(name, nn.Parameter(values))
            else:
                self.register_buffer(name, values)

    @torch.no_grad()
    def reset(self, draw: Draw) -> None:
        """First values, those of a member a function of its own seed alone, whatever is trained.

        Raises:
            ValueError: `draw` has not one seed a member.
        """
        if len(draw.seeds) != self.n_seeds:
            raise ValueError(f"the draw has {len(draw.seeds)} seeds, the bank {self.n_seeds} members")
        for name in NAMES:
            weight = getattr(self, name)
            scale = 1.0 if name == "a" else self.init_scale / math.sqrt(weight.shape[-1])
            weight.copy_(scale * draw.normal(*weight.shape[1:]))

    def forward(self, prompt: Prompt, *, steps: int | None = None) -> Float[Tensor, "T #M B"]:
        """(0, f); `steps` may be 0.

        Raises:
            ValueError: `steps` is neither 0 nor 1, or there are more tokens than read-outs.
        """
        if steps not in (None, 0, 1):
            raise ValueError(f"steps={steps} must be 0 or 1: there is one layer")
        guess = self.last(prompt)
        return torch.stack([torch.zeros_like(guess), guess][: 2 if steps is None else steps + 1])

    def last(self, prompt: Prompt) -> Float[Tensor, "#M B"]:
        x, _ = prompt.positions()
        n_tokens = x.shape[2]
        if n_tokens > self.a.shape[1]:
            raise ValueError(f"{n_tokens} tokens must be <= {self.a.shape[1]}, the read-outs (n_context + 1)")
        q, k, v = (torch.einsum("mkd,mbnd->mbnk", W, x) for W in (self.W_Q, self.W_K, self.W_V))
        return torch.einsum("mik,mbij,mbjk->mb", self.a[:, :n_tokens], self.attention(q, k), v)

    def attention(self, q: Float[Tensor, "#M B N K"], k: Float[Tensor, "#M B N K"]) -> Float[Tensor, "#M B N N"]:
        """S, the key j last."""
        scores = q @ k.mT
        if self.kernel == "softmax":
            return (scores / math.sqrt(q.shape[-1])).softmax(-1)
        squares = [t.square().sum(-1) for t in (q, k)]
        return (scores - (squares[0][..., None] + squares[1][..., None, :]) / 2).exp()
