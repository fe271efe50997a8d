"""The attention that reads: registered with transformers, so that any LLaMA-class model shows its scores.

One function stands in every attention block, in place of transformers' own kernels and masks. It does three things:
plain causal attention; causal attention that keeps keys and values (of a context, once); and attention of queries to
such a kept context *and* to themselves, the context being shared by the whole batch and never copied.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

NAME = "icl_lab"


@dataclass(frozen=True)
class Prefix:
    """Keys (after the rotation) and values of a context, one pair a layer."""

    keys: Sequence[Float[Tensor, "1 H_kv P d"]]
    values: Sequence[Float[Tensor, "1 H_kv P d"]]

    @property
    def length(self) -> int:
        return self.keys[0].shape[2] if self.keys else 0

    def crop(self, length: int) -> "Prefix":
        """Its first tokens: by causality what encoding them alone would give."""
        return Prefix([k[:, :, :length] for k in self.keys], [v[:, :, :length] for v in self.values])


@dataclass
class Reader:
    """What the attention blocks of one model are to do now, and what they saw."""

    kept: list[tuple[Tensor, Tensor]] | None = None  # keys and values, while a context is encoded
    prefix: Prefix | None = None  # what queries look back on
    capture: bool = False
    own_scores: list[Tensor] = field(default_factory=list)  # a layer: (B, H, S), from the last token, before softmax
    prefix_scores: list[Tensor] = field(default_factory=list)  # a layer: (B, P), summed over heads

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scaling: float) -> Float[Tensor, "B S H d"]:
        if self.kept is not None:
            self.kept.append((k, v))
        if self.prefix is None:
            out = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scaling, enable_gqa=True)
            return out.transpose(1, 2).contiguous()
        return self._attend_to_prefix(q, k, v, self.prefix.keys[layer], self.prefix.values[layer], scaling)

    def _attend_to_prefix(
        self, q: Tensor, k: Tensor, v: Tensor, k_prefix: Tensor, v_prefix: Tensor, scaling: float
    ) -> Tensor:
        """softmax over [context, own tokens up to here]; query head h reads key-value head h // G."""
        b, heads, s, d = q.shape
        groups = k.shape[1]
        q = q.view(b, groups, heads // groups, s, d) * scaling
        to_prefix = torch.einsum("bkgsd,kpd->bkgsp", q, k_prefix[0])
        to_own = torch.einsum("bkgsd,bktd->bkgst", q, k)
        if self.capture:
            self.own_scores.append(to_own[..., -1, :].reshape(b, heads, s).float())
            self.prefix_scores.append(to_prefix[..., -1, :].sum((1, 2)).float())
        later = torch.ones(s, s, dtype=torch.bool, device=q.device).triu(1)
        to_own = to_own.masked_fill(later, float("-inf"))
        weights = torch.cat([to_prefix, to_own], -1).softmax(-1, dtype=_wide(q.dtype)).to(q.dtype)
        on_prefix, on_own = weights.split([k_prefix.shape[2], s], -1)
        out = torch.einsum("bkgsp,kpd->bkgsd", on_prefix, v_prefix[0]) + torch.einsum("bkgst,bktd->bkgsd", on_own, v)
        return out.reshape(b, heads, s, d).transpose(1, 2).contiguous()


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _attention(module: Any, query: Tensor, key: Tensor, value: Tensor, _mask: Any = None, **options: Any) -> Any:
    """The signature that transformers calls; what a model wants beyond LLaMA's attention is refused, never ignored."""
    for name in ("softcap", "s_aux"):
        if options.get(name) is not None:
            raise ValueError(f"{type(module).__name__} needs {name} in its attention; only LLaMA-class models are read")
    window = options.get("sliding_window")
    reader: Reader = module.icl_reader
    length = key.shape[2] + (reader.prefix.length if reader.prefix is not None else 0)
    if window is not None and length > window:
        raise ValueError(f"the sequence has {length} tokens, more than the sliding window of {window}")
    return reader.attend(module.layer_idx, query, key, value, options["scaling"]), None


def _no_mask(*_: Any, **__: Any) -> None:
    """The attention above is causal by itself; rows are of equal length or padded on the right."""


def install(model: Any) -> Reader:
    """Put the reading attention into a transformers model.

    Raises:
        ValueError: it is not LLaMA-class: decoder layers with self_attn of q_proj, k_proj, v_proj.
    """
    from transformers import AttentionInterface, AttentionMaskInterface

    layers = getattr(model.base_model, "layers", None)
    if layers is None or not all(hasattr(getattr(x, "self_attn", None), "k_proj") for x in layers):
        raise ValueError(f"{type(model).__name__} is not LLaMA-class: it has no layers[i].self_attn.k_proj to read")
    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, _no_mask)
    model.set_attn_implementation(NAME)
    reader = Reader()
    for layer in layers:
        layer.self_attn.icl_reader = reader
    return reader


@contextmanager
def keeping(reader: Reader) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Within: keys and values of what the model reads are kept."""
    reader.kept = []
    try:
        yield reader.kept
    finally:
        reader.kept = None


@contextmanager
def looking_back_on(reader: Reader, prefix: Prefix, *, capture: bool) -> Iterator[Reader]:
    """Within: what the model reads stands after `prefix`; with `capture` scores are kept, layer by layer."""
    reader.prefix, reader.capture = prefix, capture
    reader.own_scores, reader.prefix_scores = [], []
    try:
        yield reader
    finally:
        reader.prefix, reader.capture = None, False
        reader.own_scores, reader.prefix_scores = [], []
