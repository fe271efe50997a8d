"""One layer of self-attention with a softmax over the context and several heads.

References:
    von Oswald et al. 2022, Transformers learn in-context by gradient descent, arXiv:2212.07677
"""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from icl.core import Prompt
from icl.models.arguments import at_least_one, finite
from icl.models.columns import in_chunks, product, times, tokens
from icl.models.first_values import check_seeds, truncated_normal
from icl.rng import Draw

KERNELS = ("softmax", "linear")


class SoftmaxAttention(nn.Module):
    """Tokens e_i = (x_i, y_i) of size A = D + 1 and the query (x_query, 0), moved by

        e_j ← e_j + Σ_h W_Oʰ Σᵢ aᵢⱼʰ W_Vʰ eᵢ,    aᵢⱼʰ = softmaxᵢ ⟨W_Kʰ eᵢ, W_Qʰ e_j⟩ / √K,    i over the context.

    The guess is minus the y of the query, so entry 0 of the trajectory is zero; the one layer may be applied
    again. `kernel="linear"` leaves the softmax out: aᵢⱼ are the logits.

    To first order in its logits sᵢ a softmax of N is 1/N + (sᵢ − s̄)/N. Its constant is no part of a gradient
    step; two heads with opposite logits and values cancel it and every even order, which one head cannot.

    W_K, W_Q, W_V are (M, H, K, A), W_O is (M, H, A, K); K is `key_size`, A by default. First values: truncated
    normal of variance init_scale / fan-in, A and H K.
    """

    def __init__(
        self,
        *,
        dim: int,
        n_heads: int = 2,
        kernel: Literal["softmax", "linear"] = "softmax",
        key_size: int | None = None,
        init_scale: float = 0.02,
        n_seeds: int = 1,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        at_least_one(dim=dim, n_heads=n_heads, key_size=key_size, n_seeds=n_seeds)
        if kernel not in KERNELS:
            raise ValueError(f"kernel={kernel!r} must be one of {', '.join(KERNELS)}")
        finite(init_scale=init_scale)
        self.dim, self.n_heads, self.kernel, self.n_seeds = dim, n_heads, kernel, n_seeds
        self.init_scale, self.key_size = init_scale, key_size or dim + 1

        def weight(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.zeros(n_seeds, n_heads, *shape, device=device, dtype=dtype))

        self.W_K, self.W_Q, self.W_V = (weight(self.key_size, dim + 1) for _ in range(3))
        self.W_O = weight(dim + 1, self.key_size)

    @torch.no_grad()
    def reset(self, draw: Draw) -> None:
        """First values, those of a member a function of its own seed alone.

        Raises:
            ValueError: `draw` has not one seed a member.
        """
        check_seeds(draw, self.n_seeds)
        for weight in self.parameters():
            fan_in = self.n_heads * self.key_size if weight is self.W_O else self.dim + 1
            weight.copy_(math.sqrt(self.init_scale / fan_in) * truncated_normal(draw, *weight.shape[1:]))

    def forward(self, prompt: Prompt, *, steps: int | None = None) -> Float[Tensor, "T #M B"]:
        """The guess after 0..steps applications of the layer, one by default."""
        steps = 1 if steps is None else steps
        if steps < 0:
            raise ValueError(f"steps={steps} must be >= 0")
        zero = torch.zeros_like(prompt.x_query[..., :1])
        tokens = torch.cat([torch.cat([prompt.x, prompt.x_query[:, :, None]], 2),
                            torch.cat([prompt.y, zero], 2)[..., None]], -1)  # fmt: skip
        tokens = tokens.expand(max(self.n_seeds, tokens.shape[0]), -1, -1, -1)
        guesses = [-tokens[:, :, -1, -1]]
        for _ in range(steps):
            tokens = tokens + self.update(tokens)
            guesses.append(-tokens[:, :, -1, -1])
        return torch.stack(guesses)

    def update(self, tokens: Float[Tensor, "M B N1 A"]) -> Float[Tensor, "M B N1 A"]:
        """Σ_h W_O Σᵢ aᵢⱼ W_V eᵢ for every token j; the last token, the query, is never a key."""
        context = tokens[:, :, :-1]
        values = torch.einsum("mhka,mbna->mbhnk", self.W_V, context)
        attended = torch.einsum("mbhjn,mbhnk->mbhjk", self.attention(tokens), values)
        return torch.einsum("mhak,mbhjk->mbja", self.W_O, attended)

    def attention(self, tokens: Float[Tensor, "M B N1 A"]) -> Float[Tensor, "M B H N1 N"]:
        """aᵢⱼ, the key i last."""
        keys = torch.einsum("mhka,mbna->mbhnk", self.W_K, tokens[:, :, :-1])
        queries = torch.einsum("mhka,mbja->mbhjk", self.W_Q, tokens)
        return self._weights(torch.einsum("mbhjk,mbhnk->mbhjn", queries, keys) / math.sqrt(self.key_size), -1)

    def last(self, prompt: Prompt) -> Float[Tensor, "#M B"]:
        """`self(prompt)[-1]` from the query alone, with merged matrices and the prompts as the last axis."""
        x, y = prompt.x.permute(0, 3, 2, 1), prompt.y[:, :, :, None].permute(0, 3, 2, 1)
        P_y = torch.einsum("mhk,mhka->mha", self.W_O[:, :, -1], self.W_V)
        Q = torch.einsum("mhka,mhkd->mhad", self.W_K, self.W_Q[..., : self.dim]) / math.sqrt(self.key_size)
        floats = (self.dim + 1) * x[0, 0].numel()
        return in_chunks(self._last, floats, P_y, Q, x, y, prompt.x_query.mT)

    def _last(
        self,
        P_y: Float[Tensor, "#M H A"],
        Q: Float[Tensor, "#M H A D"],
        x: Float[Tensor, "#M D N B"],
        y: Float[Tensor, "#M 1 N B"],
        x_query: Float[Tensor, "#M D B"],
    ) -> Float[Tensor, "#M B"]:
        """−Σ_h Σᵢ aᵢʰ P_yʰ eᵢ with the logits eᵢᵀ Qʰ x_query; P_y is the last row of W_O W_V."""
        context = tokens(x, y)
        directions = times(Q.flatten(1, 2), x_query).unflatten(1, Q.shape[1:3]).transpose(1, 2)  # (M, A, H, B)
        weights = self._weights(product(context.transpose(1, 2), directions), 1)  # (M, N, H, B)
        return -(weights * times(P_y, context).transpose(1, 2)).sum((1, 2))

    def _weights(self, logits: Tensor, over: int) -> Tensor:
        return logits.softmax(over) if self.kernel == "softmax" else logits
