"""Two layers on tokens in their normal order x_1, y_1, x_2, y_2, ..: the first has to bring x and y together.

References:
    von Oswald et al. 2022, Transformers learn in-context by gradient descent, arXiv:2212.07677
    Olsson et al. 2022, In-context learning and induction heads, arXiv:2209.11895
"""

import math
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from icl.core import Prompt
from icl.models.arguments import at_least_one, finite
from icl.models.first_values import draw_truncated_normal
from icl.rng import Draw

WAVELENGTH = 10_000.0


class CopyAttention(nn.Module):
    """S = 2N + 1 tokens (x_1, p_0), (ỹ_1, p_1), (x_2, p_2), .., (x_query, p_2N) with ỹ = (0, .., 0, y) of size D and
    p_s a sinusoidal code of size C of the place s, beside the token, not added to it. A = D + C.

        layer 1, softmax    t_j = e_j + W_O Σᵢ softmaxᵢ(⟨W_K eᵢ, W_Q e_j⟩ / √A) W_V eᵢ
        layer 2, linear     u_j = t_j + (1/N) W_O Σᵢ (W_V tᵢ) ⟨W_K tᵢ, W_Q t_j⟩,     i over all tokens but the query

    each with matrices of its own, (M, 2, A, A) in the bank. The guess is minus what the layers have added to the
    last channel of the query, so entry 0 of the trajectory is 0 (the source reads the channel itself, in which its
    code stands before any layer). `causal` lets token j of layer 1 see no i > j. First values: truncated normal of
    variance init_scale / A.
    """

    order_matters: ClassVar[bool] = True  # of the context: the first layer may tell places apart
    W_K: Tensor
    W_Q: Tensor
    W_V: Tensor
    W_O: Tensor

    def __init__(
        self,
        *,
        dim: int,
        code_size: int = 10,
        causal: bool = False,
        init_scale: float = 0.1,
        n_seeds: int = 1,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        at_least_one(dim=dim, n_seeds=n_seeds)
        if code_size < 2 or code_size % 2:
            raise ValueError(f"code_size={code_size} must be even and >= 2: a sine and a cosine a frequency")
        finite(init_scale=init_scale)
        self.dim, self.code_size, self.causal, self.init_scale = dim, code_size, causal, init_scale
        size = dim + code_size
        for name in ("W_K", "W_Q", "W_V", "W_O"):
            weight = nn.Parameter(torch.zeros(n_seeds, 2, size, size, device=device, dtype=dtype))
            self.register_parameter(name, weight)

    @torch.no_grad()
    def reset(self, draw: Draw) -> None:
        """First values, those of a member a function of its own seed alone.

        Raises:
            ValueError: `draw` has not one seed a member.
        """
        draw_truncated_normal(self.parameters(), draw, self.init_scale)

    def forward(self, prompt: Prompt, *, steps: int | None = None) -> Float[Tensor, "T #M B"]:
        """0, then the guess after each of the two layers.

        Raises:
            ValueError: `steps` is not 0, 1 or 2.
        """
        if steps not in (None, 0, 1, 2):
            raise ValueError(f"steps={steps} must be 0, 1 or 2, the layers")
        e = self.tokens(prompt)
        t = self.first_layer(e)
        start, middle = e[:, :, -1, -1], t[:, :, -1, -1]
        end = middle + self._read(t) / max(prompt.x.shape[2], 1)
        return -torch.stack([start, middle, end][: None if steps is None else steps + 1]).sub(start)

    def tokens(self, prompt: Prompt) -> Float[Tensor, "M B S A"]:
        """x_1, y_1, x_2, y_2, .., x_query with their codes, for every member."""
        x, y = prompt.x, prompt.y
        labels = torch.cat([torch.zeros_like(x[..., 1:]), y[..., None]], -1)
        pairs = torch.stack([x, labels], 3).flatten(2, 3)
        sequence = torch.cat([pairs, prompt.x_query[:, :, None]], 2)
        code = sinusoidal_code(sequence.shape[2], self.code_size).to(sequence)
        tokens = torch.cat([sequence, code.expand(*sequence.shape[:2], -1, -1)], -1)
        return tokens.expand(max(tokens.shape[0], self.W_K.shape[0]), -1, -1, -1)

    def first_layer(self, e: Float[Tensor, "M B S A"]) -> Float[Tensor, "M B S A"]:
        """t."""
        attended = torch.einsum("mbji,mbia->mbja", self.attention(e), e[:, :, :-1])
        return e + torch.einsum("mca,mbja->mbjc", self.W_O[:, 0] @ self.W_V[:, 0], attended)

    def attention(self, e: Float[Tensor, "M B S A"]) -> Float[Tensor, "M B S I"]:
        """The weights of layer 1, the token that looks before the one that it looks at; no one looks at the query."""
        Q = self.W_K[:, 0].mT @ self.W_Q[:, 0] / math.sqrt(e.shape[-1])
        logits = torch.einsum("mbja,mca,mbic->mbji", e, Q, e[:, :, :-1])
        if self.causal:
            later = torch.ones(logits.shape[-2:], dtype=torch.bool, device=e.device).triu(1)
            logits = logits.masked_fill(later, -math.inf)
        return logits.softmax(-1)

    def influence(self, prompt: Prompt) -> Float[Tensor, "M S S"]:
        """[j, k] = |mean over prompts of ∂(Σ_a t_ja)/∂e_k|: how the first layer's output at j reacts to token k."""
        with torch.enable_grad():
            e = self.tokens(prompt).detach().requires_grad_()
            t = self.first_layer(e).sum(-1)
            rows = [torch.autograd.grad(t_j.sum(), e, retain_graph=True)[0].mean(1) for t_j in t.unbind(-1)]
        return torch.stack(rows, 1).norm(dim=-1)

    def _read(self, t: Float[Tensor, "M B S A"]) -> Float[Tensor, "M B"]:
        """What layer 2 adds to the query's last channel, times N."""
        context, query = t[:, :, :-1], t[:, :, -1]
        direction = torch.einsum("mca,mba->mbc", self.W_K[:, 1].mT @ self.W_Q[:, 1], query)
        value = torch.einsum("mk,mka->ma", self.W_O[:, 1, -1], self.W_V[:, 1])
        scores = torch.einsum("mbia,mba->mbi", context, direction)
        return (scores * torch.einsum("mbia,ma->mbi", context, value)).sum(-1)


def sinusoidal_code(n_places: int, size: int) -> Float[Tensor, "S C"]:
    """sin and cos of s / 10000^(2c/C) in turn, c = 0 .. C/2 − 1 (Vaswani et al. 2017)."""
    frequency = WAVELENGTH ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
    angle = torch.arange(n_places, dtype=torch.float64)[:, None] * frequency
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)
