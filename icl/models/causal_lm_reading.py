"""One reading of all queries behind one context: scores of the label words, and what the attention blocks did.

Queries of equal length go through the model together, without padding; the context is encoded once.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from icl.core import TokenPrompt
from icl.models.causal_lm_attention import Prefix, Reader, keeping, looking_back_on
from icl.models.causal_lm_tokens import MEAN_LOG_PROBABILITY

CHUNK_FLOATS = 2**25  # of the attention weights of one layer


@dataclass(frozen=True)
class Inside:
    """Of the token that predicts the label, a layer (L) and head (H)."""

    attention_out: Float[Tensor, "B L E"]  # after the output projection, before the residual
    own_scores: Float[Tensor, "B L H S"]  # q·k/√d before the softmax, to the query's own tokens; 0 beyond its length
    context_scores: Float[Tensor, "B L P"]  # the same to the tokens of the context, summed over heads
    attention_query: Float[Tensor, "B L Hd"]  # q, before the rotation


@dataclass(frozen=True)
class Reading:
    """What the model says about every query."""

    label_logits: Float[Tensor, "B V"]
    inside: Inside | None = None
    probabilities: Float[Tensor, "B V_all"] | None = None  # of the next token, over the whole vocabulary

    @property
    def finite(self) -> bool:
        return bool(self.label_logits.isfinite().all())


@torch.no_grad()
def encode_context(lm: Any, reader: Reader, tokens: Int[Tensor, "P"]) -> Prefix:
    """Keys and values of a context, from one pass."""
    if len(tokens) == 0:
        attention = lm.base_model.layers[0].self_attn
        shape = (1, lm.config.num_key_value_heads, 0, attention.head_dim)
        weight = attention.k_proj.weight
        empty = [torch.zeros(shape, dtype=weight.dtype, device=weight.device)] * len(lm.base_model.layers)
        return Prefix(empty, empty)
    with keeping(reader) as kept:
        lm.base_model(input_ids=tokens[None], use_cache=False)
    return Prefix([k for k, _ in kept], [v for _, v in kept])


@torch.no_grad()
def read(
    lm: Any, reader: Reader, prompt: TokenPrompt, prefix: Prefix, *, scoring: str, capture: bool = False
) -> Reading:
    """All queries behind `prefix`; `capture` adds what is inside, and the whole vocabulary's probabilities."""
    lengths = prompt.query_mask.sum(1)
    parts: list[tuple[Tensor, Reading]] = []
    for length in lengths.unique().tolist():
        rows = (lengths == length).nonzero()[:, 0]
        weights = lm.config.num_attention_heads * length * (prefix.length + length)
        for chosen in rows.split(max(1, CHUNK_FLOATS // weights)):
            tokens = prompt.query[chosen, :length]
            parts.append((chosen, _read_equal(lm, reader, tokens, prefix, prompt, scoring, capture)))
    return _in_order(parts, int(lengths.max()))


def _read_equal(
    lm: Any, reader: Reader, tokens: Tensor, prefix: Prefix, prompt: TokenPrompt, scoring: str, capture: bool
) -> Reading:
    with looking_back_on(reader, prefix, capture=capture), ExitStack() as stack:
        seen = stack.enter_context(watching(lm)) if capture else None
        hidden = _run(lm, tokens, prefix.length)[:, -1]
        inside = probabilities = None
        if seen is not None:
            probabilities = vocabulary_logits(lm, hidden).softmax(-1, dtype=torch.float32)
            inside = Inside(
                torch.stack(seen["out"], 1), torch.stack(reader.own_scores, 1), torch.stack(reader.prefix_scores, 1),
                torch.stack(seen["query"], 1),
            )  # fmt: skip
        if scoring == MEAN_LOG_PROBABILITY:
            reader.capture = False
            logits = _mean_log_probability(lm, tokens, prefix, prompt)
        else:
            logits = vocabulary_logits(lm, hidden, prompt.label_words[:, 0])
    return Reading(logits, inside, probabilities)


def _run(lm: Any, tokens: Int[Tensor, "B S"], start: int) -> Float[Tensor, "B S E"]:
    positions = start + torch.arange(tokens.shape[1], device=tokens.device)[None]
    return lm.base_model(input_ids=tokens, position_ids=positions, use_cache=False).last_hidden_state


def _mean_log_probability(lm: Any, tokens: Tensor, prefix: Prefix, prompt: TokenPrompt) -> Float[Tensor, "B V"]:
    """1/W Σ_w log p(w-th token of the label | context, query, label so far): labels of several tokens."""
    columns = []
    for words, mask in zip(prompt.label_words, prompt.label_mask, strict=True):
        label = words[mask]
        rows = torch.cat([tokens, label[None, :-1].expand(len(tokens), -1)], 1)
        hidden = _run(lm, rows, prefix.length)[:, -len(label) :]
        log_p = vocabulary_logits(lm, hidden).log_softmax(-1)
        columns.append(log_p.gather(-1, label[None, :, None].expand(len(tokens), -1, 1))[..., 0].mean(1))
    return torch.stack(columns, 1)


def vocabulary_logits(
    lm: Any, hidden: Float[Tensor, "*b E"], words: Int[Tensor, "V"] | None = None
) -> Float[Tensor, "*b V"]:
    """The output projection, of some words only if asked: 49,152 rows are most of the cost of a small model."""
    head = lm.get_output_embeddings()
    weight, bias = head.weight, getattr(head, "bias", None)
    if words is not None:
        weight, bias = weight[words], None if bias is None else bias[words]
    return torch.nn.functional.linear(hidden, weight, bias)


@contextmanager
def watching(lm: Any) -> Iterator[dict[str, list[Tensor]]]:
    """Within: the attention block's output and its query at the last token, a layer."""
    seen: dict[str, list[Tensor]] = {"out": [], "query": []}

    def keep_out(_module: Any, _args: Any, output: Any) -> None:
        seen["out"].append(output[0][:, -1].float())

    def keep_query(_module: Any, _args: Any, output: Tensor) -> None:
        seen["query"].append(output[:, -1].float())

    hooks = []
    for layer in lm.base_model.layers:
        hooks += [
            layer.self_attn.register_forward_hook(keep_out),
            layer.self_attn.q_proj.register_forward_hook(keep_query),
        ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _in_order(parts: list[tuple[Tensor, Reading]], longest: int) -> Reading:
    """The parts put back in the order of the queries."""
    order = torch.cat([rows for rows, _ in parts]).argsort()

    def joined(pieces: list[Tensor]) -> Tensor:
        return torch.cat(pieces)[order]

    readings = [reading for _, reading in parts]
    insides = [reading.inside for reading in readings if reading.inside is not None]
    inside = probabilities = None
    if insides:
        probabilities = joined([r.probabilities for r in readings if r.probabilities is not None])
        pad = torch.nn.functional.pad
        inside = Inside(
            joined([i.attention_out for i in insides]),
            joined([pad(i.own_scores, (0, longest - i.own_scores.shape[-1])) for i in insides]),
            joined([i.context_scores for i in insides]),
            joined([i.attention_query for i in insides]),
        )
    return Reading(joined([r.label_logits for r in readings]), inside, probabilities)
