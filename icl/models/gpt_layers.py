"""The layers of a GPT-style decoder as functions of tokens, for a few members at a time.

A linear layer is one batched product over members; attention runs over members and prompts together. The affine
half of a LayerNorm is folded into the linear layer that reads it, (g ⊙ n + s) W + b = n (g ⊙ W) + (s W + b), which
is cheaper than a pass over the activations.

References:
    Radford et al. 2019, Language models are unsupervised multitask learners (pre-LN, GELU, learned positions)
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from icl.models.attention_kernels import Kernel, attend


@dataclass(frozen=True)
class Layer:
    """One layer of m members, every tensor (m, ...); the LayerNorms' affine halves are in the weights that follow."""

    W_qkv: Tensor
    b_qkv: Tensor
    W_o: Tensor
    b_o: Tensor
    W_up: Tensor
    b_up: Tensor
    W_down: Tensor
    b_down: Tensor

    @classmethod
    def of(cls, p: Mapping[str, Tensor]) -> "Layer":
        """From the parameters of one layer."""
        W_qkv, b_qkv = folded(p["gain_1"], p["shift_1"], p["W_qkv"], p["b_qkv"])
        W_up, b_up = folded(p["gain_2"], p["shift_2"], p["W_up"], p["b_up"])
        return cls(W_qkv, b_qkv, p["W_o"], p["b_o"], W_up, b_up, p["W_down"], p["b_down"])

    def __call__(
        self, h: Float[Tensor, "m B S E"], n_heads: int, *, kernel: Kernel = "softmax", only_x: bool = False
    ) -> Float[Tensor, "m B S2 E"]:
        """h ← h + W_o attention(LN h), then h ← h + W_down GELU(W_up LN h).

        With `only_x` at the places of x alone: the same numbers there, and half the work.
        """
        n = normed(h)
        if only_x:
            h = h[:, :, ::2]
        return self.after_attention(h, self._attended(n, n_heads, kernel, only_x))

    def after_attention(
        self, h: Float[Tensor, "m B S E"], attended: Float[Tensor, "m R E"]
    ) -> Float[Tensor, "m B S E"]:
        """h with what the heads brought to it, and then the MLP's part."""
        h = h + affine_map(self.b_o, attended, self.W_o).view(h.shape)
        wide = F.gelu(affine_map(self.b_up, normed(h).flatten(1, 2), self.W_up), approximate="tanh")
        return h + affine_map(self.b_down, wide, self.W_down).view(h.shape)

    def weights(self, h: Float[Tensor, "m B S E"], n_heads: int, kernel: Kernel) -> Float[Tensor, "m B H S S"]:
        """What every token takes from every token up to itself: attention to values that are unit vectors."""
        m, n_prompts, n_tokens, width = h.shape
        qkv = torch.baddbmm(self.b_qkv, normed(h).flatten(1, 2), self.W_qkv)
        heads = (m * n_prompts, n_tokens, -1, n_heads, width // n_heads)
        q, k, _ = qkv.view(heads).permute(2, 0, 3, 1, 4)
        units = torch.eye(n_tokens, device=q.device, dtype=q.dtype).expand(*q.shape[:2], -1, -1)
        return attend(kernel, q, k, units).unflatten(0, (m, n_prompts))

    def _attended(
        self, n: Float[Tensor, "m B S E"], n_heads: int, kernel: Kernel, only_x: bool
    ) -> Float[Tensor, "m R E"]:
        """What the heads bring to every token, or to those of x."""
        m, n_prompts, n_tokens, width = n.shape
        heads = (m * n_prompts, n_tokens, -1, n_heads, width // n_heads)
        if only_x:
            (W_q, W_kv), (b_q, b_kv) = (t.split([width, 2 * width], -1) for t in (self.W_qkv, self.b_qkv))
            q = affine_map(b_q, n[:, :, ::2].flatten(1, 2), W_q).view(heads[0], -1, *heads[3:]).transpose(1, 2)
            k, v = affine_map(b_kv, n.flatten(1, 2), W_kv).view(heads).permute(2, 0, 3, 1, 4)
            mask = torch.ones(n_tokens, n_tokens, dtype=torch.bool, device=n.device).tril()[::2]
        else:
            qkv = affine_map(self.b_qkv, n.flatten(1, 2), self.W_qkv)
            q, k, v = qkv.view(heads).permute(2, 0, 3, 1, 4)
            mask = None
        return attend(kernel, q, k, v, mask).transpose(1, 2).reshape(m, -1, width)


@dataclass(frozen=True)
class Decoders:
    """m decoders as functions of tokens "m B S E", x at the even places and y at the odd ones."""

    n_heads: int
    kernel: Kernel
    layers: tuple[Layer, ...]
    p: Mapping[str, Tensor]

    def embed(self, x: Float[Tensor, "#m B P D"], y: Float[Tensor, "#m B P"]) -> Float[Tensor, "m B S E"]:
        """x R + b and (y, 0, ..) R + b, interleaved, plus positions; S = 2P − 1, for the last y is no one's past."""
        R = self.p["read_in"]
        x = torch.einsum("mbpd,mde->mbpe", x.expand(R.shape[0], -1, -1, -1), R)
        y = y[..., None] * R[:, None, None, 0]
        tokens = torch.stack((x, y), 3).flatten(2, 3)[:, :, :-1]
        return tokens + (self.p["read_in_bias"] + self.p["positions"][:, : tokens.shape[2]])[:, None]

    def stack(self, h: Float[Tensor, "m B S E"], *, only_x: bool = False) -> Float[Tensor, "m B S2 E"]:
        """All layers."""
        for layer in self.layers[:-1]:
            h = self.through(layer, h)
        return self.through(self.layers[-1], h, only_x=only_x)

    def stream(
        self, x: Float[Tensor, "#M B P D"], y: Float[Tensor, "#M B P"], n_layers: int | None = None
    ) -> list[Float[Tensor, "m B S E"]]:
        """The tokens after 0..n_layers layers, by default all."""
        stream = [self.embed(x, y)]
        for layer in self.layers[:n_layers]:
            stream.append(self.through(layer, stream[-1]))
        return stream

    def through(self, layer: Layer, h: Float[Tensor, "m B S E"], *, only_x: bool = False) -> Float[Tensor, "m B S2 E"]:
        """One layer."""
        return layer(h, self.n_heads, kernel=self.kernel, only_x=only_x)

    def affine(self, n: Float[Tensor, "m B S E"]) -> Float[Tensor, "m B S E"]:
        """The other half of the final LayerNorm, g ⊙ n + s."""
        return torch.addcmul(self.p["shift"][:, None], n, self.p["gain"][:, None])

    def read(self, h: Float[Tensor, "m B P E"]) -> Float[Tensor, "m B P"]:
        """The read-out of tokens, through the final LayerNorm."""
        return self.guess(normed(h))

    def guess(self, n: Float[Tensor, "m B P E"]) -> Float[Tensor, "m B P"]:
        """The read-out of tokens that went through the first half of the final LayerNorm."""
        r, b = folded(self.p["gain"], self.p["shift"], self.p["read_out"], self.p["read_out_bias"])
        return affine_map(b, n.flatten(1, 2), r).view(n.shape[:3])


def affine_map(
    b: Float[Tensor, "m 1 F"], n: Float[Tensor, "m R E"], W: Float[Tensor, "m E F"]
) -> Float[Tensor, "m R F"]:
    """n W + b: of one member a plain product, which has faster routes than a batch of one."""
    if len(W) == 1:
        return torch.addmm(*(t.flatten(0, 1) for t in (b, n, W)))[None]  # views: an index would fill zeros backward
    return torch.baddbmm(b, n, W)


def normed(h: Float[Tensor, "m B S E"]) -> Float[Tensor, "m B S E"]:
    """LayerNorm without its affine half: mean 0, variance 1."""
    return F.layer_norm(h, h.shape[-1:])


def folded(gain: Tensor, shift: Tensor, W: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """(W', b') with (g ⊙ n + s) W + b = n W' + b'."""
    return gain.mT * W, affine_map(b, shift, W)
