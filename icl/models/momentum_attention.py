"""A GPT-style transformer whose heads add a decaying sum of past values, as momentum adds past gradients; its control.

References:
    Dai et al. 2023, Why can GPT learn in-context?, arXiv:2212.10559, section 5 (momentum attention)
"""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from icl.models.arguments import depth
from icl.models.decoder_predictor import PositionPredictor
from icl.models.gpt import GPT, check_sizes
from icl.models.gpt_layers import Decoders, Layer, normed
from icl.models.matmul_route import attention
from icl.rng import Draw

Kind = Literal["momentum", "previous"]


class MomentumAttention(PositionPredictor):
    """Every head gives token t, beside what it attends to among the tokens i <= t,

        momentum   Σ_{i<t} η^{t−i} v_i       the source's; as a recurrence s_t = η (s_{t−1} + v_{t−1}), s_1 = 0
        previous   η v_{t−1}                 the control: its first term alone, a fixed previous-token head

    with the head's own values v_i. η = 0 is the plain transformer. `tokens` is

        interleaved   x_1, (y_1, 0, ..), x_2, ..: a label is the neighbour of its input, and to pair them is to copy
        paired        (x_t, x_{t−1}, y_{t−1}), zeros before the first: nothing has to be copied

    The guess of y_t is read at the token that holds x_t. Entry l of a trajectory is the read-out after layer l.
    """

    def __init__(
        self,
        *,
        dim: int,
        n_context: int,
        n_layers: int = 2,
        width: int = 48,
        n_heads: int = 2,
        eta: float = 0.3,
        kind: Kind = "momentum",
        tokens: Literal["interleaved", "paired"] = "interleaved",
        n_seeds: int = 1,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        check_sizes(dim=dim, n_context=n_context, n_layers=n_layers, width=width, n_heads=n_heads, n_seeds=n_seeds)
        if not (0 <= eta < 1 and math.isfinite(eta)):
            raise ValueError(f"eta={eta} must be in [0, 1)")
        if kind not in ("momentum", "previous") or tokens not in ("interleaved", "paired"):
            raise ValueError(f"kind={kind}, tokens={tokens} must be momentum or previous, interleaved or paired")
        self.dim, self.n_layers, self.eta, self.kind, self.paired = dim, n_layers, eta, kind, tokens == "paired"
        size = 2 * dim + 1 if self.paired else dim
        self.every = 1 if self.paired else 2  # tokens a pair: x stands at every second, or at each
        self.gpt = GPT(dim=size, n_tokens=self.every * n_context + 1, n_layers=n_layers, width=width, n_heads=n_heads,
                       n_seeds=n_seeds, device=device, dtype=dtype, tokens_a_pair=self.every)  # fmt: skip

    def reset(self, draw: Draw) -> None:
        """First values; `GPT.reset`."""
        self.gpt.reset(draw)

    def every_prefix(
        self, x: Float[Tensor, "#M B P D"], y: Float[Tensor, "#M B P"], *, steps: int | None = None
    ) -> Float[Tensor, "T M B P"]:
        """The guess at every position after 0..steps layers.

        Raises:
            ValueError: `steps` < 0, or more than the layers.
        """
        steps = depth(steps, self.n_layers)
        parts = []
        for decoders, x_part, y_part in self._chunks(x, y):
            h = self._embed(decoders, x_part, y_part)
            guesses = [h.new_zeros(h.shape[0], *x.shape[1:3])]
            for layer in decoders.layers[:steps]:
                h = self._layer(layer, h, 1)
                guesses.append(decoders.guess(normed(h[:, :, :: self.every])))
            parts.append(torch.stack(guesses))
        return torch.cat(parts, dim=1)

    def last_every_prefix(self, x: Float[Tensor, "#M B P D"], y: Float[Tensor, "#M B P"]) -> Float[Tensor, "M B P"]:
        """`every_prefix(x, y)[-1]`: the last layer at the places of x alone."""
        parts = []
        for decoders, x_part, y_part in self._chunks(x, y):
            h = self._embed(decoders, x_part, y_part)
            for layer in decoders.layers[:-1]:
                h = self._layer(layer, h, 1)
            parts.append(decoders.guess(normed(self._layer(decoders.layers[-1], h, self.every))))
        return torch.cat(parts, dim=0)

    def carried(self, n_tokens: int, like: Tensor) -> Float[Tensor, "S S"]:
        """C with Σ_i C_ti v_i what is added at token t: strictly below the diagonal."""
        past = torch.arange(n_tokens, device=like.device)
        steps = past[:, None] - past
        weights = self.eta ** steps.clamp(min=0).to(like)
        return torch.where(steps > 0 if self.kind == "momentum" else steps == 1, weights, 0.0)

    def _chunks(self, x: Tensor, y: Tensor):
        if not self.paired:
            return self.gpt.chunks(x, y)
        before = [torch.cat([torch.zeros_like(t[:, :, :1]), t[:, :, :-1]], 2) for t in (x, y[..., None])]
        return self.gpt.chunks(torch.cat([x, *before], dim=-1), y)

    def _embed(self, decoders: Decoders, x: Tensor, y: Tensor) -> Float[Tensor, "m B S E"]:
        if not self.paired:
            return decoders.embed(x, y)
        R, b = decoders.p["read_in"], decoders.p["read_in_bias"]
        tokens = torch.einsum("mbpd,mde->mbpe", x.expand(R.shape[0], -1, -1, -1), R)
        return tokens + (b + decoders.p["positions"][:, : tokens.shape[2]])[:, None]

    def _layer(self, layer: Layer, h: Float[Tensor, "m B S E"], every: int) -> Float[Tensor, "m B S2 E"]:
        """As `Layer`, with what is carried added to what is attended to; at every `every`-th token."""
        m, n_prompts, n_tokens, width = h.shape
        n_heads = self.gpt.n_heads
        qkv = torch.baddbmm(layer.b_qkv, normed(h).flatten(1, 2), layer.W_qkv)
        heads = qkv.view(m * n_prompts, n_tokens, 3, n_heads, width // n_heads).permute(2, 0, 3, 1, 4)
        q, k, v = heads[0][:, :, ::every], heads[1], heads[2]
        mask = torch.ones(n_tokens, n_tokens, dtype=torch.bool, device=h.device).tril()[::every]
        attended = attention(q, k, v, None if every == 1 else mask)
        if self.eta > 0:
            attended = attended + self.carried(n_tokens, v)[::every] @ v
        return layer.after_attention(h[:, :, ::every], attended.transpose(1, 2).reshape(m, -1, width))
