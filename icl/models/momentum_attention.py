"""A GPT-style transformer whose heads add a decaying sum of past values, as momentum adds past gradients; its control.

References:
    Dai et al. 2023, Why can GPT learn in-context?, arXiv:2212.10559, section 5 (momentum attention)
"""

import math
from collections.abc import Iterator
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from icl.models.arguments import at_least_one
from icl.models.decoder_predictor import DecoderPredictor, LayeredPredictor, Stream
from icl.models.gpt_layers import Decoders, Layer, normed
from icl.models.matmul_route import attention

Kind = Literal["momentum", "previous"]


class MomentumAttention(LayeredPredictor, DecoderPredictor):
    """Every head gives token t, beside what it attends to among the tokens i <= t,

        momentum   Σ_{i<t} η^{t−i} v_i       the source's; as a recurrence s_t = η (s_{t−1} + v_{t−1}), s_1 = 0
        previous   η v_{t−1}                 the control: its first term alone, a fixed previous-token head

    with the head's own values v_i. η = 0 is the plain transformer. `tokens` is

        interleaved   x_1, (y_1, 0, ..), x_2, ..: a label is the neighbour of its input, and to pair them is to copy
        paired        (x_t, x_{t−1}, y_{t−1}), zeros before the first: nothing has to be copied

    The guess of y_t is read at the token that holds x_t.
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
        at_least_one(dim=dim)
        if not (0 <= eta < 1 and math.isfinite(eta)):
            raise ValueError(f"eta={eta} must be in [0, 1)")
        if kind not in ("momentum", "previous") or tokens not in ("interleaved", "paired"):
            raise ValueError(f"kind={kind}, tokens={tokens} must be momentum or previous, interleaved or paired")
        paired = tokens == "paired"
        size, tokens_a_pair = (2 * dim + 1, 1) if paired else (dim, 2)
        super().__init__(dim=size, n_context=n_context, n_layers=n_layers, width=width, n_heads=n_heads,
                         n_seeds=n_seeds, device=device, dtype=dtype, tokens_a_pair=tokens_a_pair)  # fmt: skip
        self.dim, self.eta, self.kind, self.paired = dim, eta, kind, paired

    def streams(self, x: Float[Tensor, "#M B P D"], y: Float[Tensor, "#M B P"], steps: int) -> Iterator[Stream]:
        for decoders, x_part, y_part in self._chunks(x, y):
            yield self._stream(decoders, x_part, y_part, steps), decoders.read

    def last_every_prefix(self, x: Float[Tensor, "#M B P D"], y: Float[Tensor, "#M B P"]) -> Float[Tensor, "M B P"]:
        """`every_prefix(x, y)[-1]`: the last layer at the places of x alone."""
        parts = []
        for decoders, x_part, y_part in self._chunks(x, y):
            h = self._stream(decoders, x_part, y_part, self.n_layers - 1)[-1]
            parts.append(decoders.read(self._layer(decoders.layers[-1], h, self.tokens_a_pair)))
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

    def _stream(self, decoders: Decoders, x: Tensor, y: Tensor, steps: int) -> list[Float[Tensor, "m B S E"]]:
        """The tokens after 0..steps layers."""
        stream = [self._embed(decoders, x, y)]
        for layer in decoders.layers[:steps]:
            stream.append(self._layer(layer, stream[-1], 1))
        return stream

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
