"""The disentangled transformer: attention only, one merged matrix a head, a stream that is concatenated, never added.

References:
    Nichani, Damian, Lee 2024, How transformers learn causal structure with gradient descent, arXiv:2402.14735
    Friedman, Wettig, Chen 2023, Learning transformer programs, arXiv:2306.01128 (the stream)
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from icl.core import Prompt
from icl.models.disentangled_transformer_fast import last_of_two_layers
from icl.rng import Draw


class DisentangledTransformer(nn.Module):
    """Positions i = 0..N, the query last, start as h_i = (x_i, onehot(i)), and every head appends what it reads:

        h_i ← (h_i, Σ_j a_ij¹ h_j, .., Σ_j a_ijᴴ h_j),    aᵢⱼ = softmax over j <= i of h_iᵀ A h_j

    The guess is W h_N, logits of S labels. Entry l of the trajectory reads the stream after l layers, where what later
    layers write is missing and counts as zero; entry 0, before it has read anything, is zero logits, the uniform guess.

    A[l] is (M, H_l, d_l, d_l), d_0 = S + N + 1, d_{l+1} = (1 + H_l) d_l; W is (M, S, d_L). First values are zero: W
    moves first. `copy_init` c starts the block of A[1] that meets the query's token with a copied token at c I.
    """

    order_matters = True

    def __init__(
        self,
        *,
        dim: int,
        n_context: int,
        n_heads: Sequence[int] = (1, 1),
        copy_init: float = 0.0,
        n_seeds: int = 1,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        for name, size in {"dim": dim, "n_context": n_context, "n_seeds": n_seeds}.items():
            if size < 1:
                raise ValueError(f"{name}={size} must be >= 1")
        if not n_heads or min(n_heads) < 1:
            raise ValueError(f"n_heads={list(n_heads)} must be one number >= 1 a layer")
        if copy_init and len(n_heads) < 2:
            raise ValueError(f"copy_init={copy_init} needs two layers, n_heads={list(n_heads)}")
        self.dim, self.n_context, self.n_heads, self.copy_init = dim, n_context, list(n_heads), copy_init
        sizes = [dim + n_context + 1]
        for heads in n_heads:
            sizes.append((1 + heads) * sizes[-1])

        def zeros(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.zeros(n_seeds, *shape, device=device, dtype=dtype))

        self.A = nn.ParameterList([zeros(heads, size, size) for heads, size in zip(n_heads, sizes)])
        self.W = zeros(dim, sizes[-1])

    @torch.no_grad()
    def reset(self, draw: Draw) -> None:
        """First values; nothing is drawn."""
        for weight in self.parameters():
            weight.zero_()
        if self.copy_init:
            self.copied_block(0).diagonal(dim1=-2, dim2=-1).fill_(self.copy_init)

    def copied_block(self, head: int) -> Float[Tensor, "M H S S"]:
        """The part of A[1] that meets the query's token with the token that `head` of layer 0 copied."""
        start = (1 + head) * self.A[0].shape[-1]
        return self.A[1][:, :, : self.dim, start : start + self.dim]

    def forward(self, prompt: Prompt, *, steps: int | None = None) -> Float[Tensor, "T #M B V"]:
        """The guess after 0..steps layers, all of them by default."""
        steps = len(self.n_heads) if steps is None else steps
        if not 0 <= steps <= len(self.n_heads):
            raise ValueError(f"steps={steps} must be in 0..{len(self.n_heads)}: the layers differ")
        h = self.stream(prompt)
        guesses = [self._read(h[:, :, -1]) * 0]
        for layer in range(steps):
            read = self.attention(h, layer) @ h[:, :, None]  # (M, B, H, P, d)
            h = torch.cat([h, *read.unbind(2)], -1)
            guesses.append(self._read(h[:, :, -1]))
        return torch.stack(guesses)

    def last(self, prompt: Prompt) -> Float[Tensor, "#M B V"]:
        """`self(prompt)[-1]`, for two layers by the form that skips its zeros."""
        if len(self.n_heads) != 2:
            return self(prompt)[-1]
        self._check(prompt)
        return last_of_two_layers(self.A[0], self.A[1], self.W, prompt)

    def stream(self, prompt: Prompt) -> Float[Tensor, "M B P d"]:
        """h of all positions before any layer."""
        self._check(prompt)
        x = torch.cat([prompt.x, prompt.x_query[:, :, None]], 2)
        at = torch.eye(self.n_context + 1, device=x.device, dtype=x.dtype)[: x.shape[2]].expand(*x.shape[:2], -1, -1)
        h = torch.cat([x, at], -1)
        return h.expand(max(self.W.shape[0], h.shape[0]), -1, -1, -1)

    def _check(self, prompt: Prompt) -> None:
        if prompt.x.shape[2] > self.n_context:
            raise ValueError(f"the prompt has {prompt.x.shape[2] + 1} positions, the model {self.n_context + 1}")

    def attention(
        self, h: Float[Tensor, "M B P d"], layer: int, *, query_only: bool = False
    ) -> Float[Tensor, "M B H Q P"]:
        """Who reads whom in a layer: aᵢⱼ, j last; with `query_only` the row of the last position."""
        reader, A = h[:, :, -1:] if query_only else h, self.A[layer]
        turned = reader.flatten(1, 2) @ A.transpose(1, 2).flatten(2)  # one product for all prompts: (M, B Q, H d)
        turned = turned.unflatten(2, (A.shape[1], -1)).unflatten(1, (h.shape[1], -1)).transpose(2, 3)
        scores = turned @ h.mT[:, :, None]
        if not query_only:
            later = torch.ones(h.shape[2], h.shape[2], dtype=torch.bool, device=h.device).triu(1)
            scores = scores.masked_fill(later, -torch.inf)
        return scores.softmax(-1)

    def _read(self, h: Float[Tensor, "M B d"]) -> Float[Tensor, "M B V"]:
        return torch.einsum("mvd,mbd->mbv", self.W[..., : h.shape[-1]], h)
