"""From words to tokens: the prompt of a language model, with every check that its labels and its length need."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from icl.core import TokenPrompt, TokenSample
from icl.tasks.text import Example, TextSample

SINGLE_TOKEN, MEAN_LOG_PROBABILITY = "single_token", "mean_log_probability"


def encode(
    sample: TextSample, tokenizer: Any, *, scoring: str, max_length: int | None, device: Any, queries: str = "queries"
) -> TokenSample:
    """Demonstrations and `queries` (or the `validation` ones) of a sample as tokens; no chat template.

    Raises:
        ValueError: a label is not one token where single tokens are scored, or the context does not hold all of it.
    """
    asked: Sequence[Example] = getattr(sample, queries)

    def ids(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    labels = [ids(label) for label in sample.labels]
    if scoring == SINGLE_TOKEN:
        check_single_tokens(sample.labels, labels, tokenizer)
    stems = [ids(e.text) for e in sample.demos]
    demos, demo_mask = padded([stem + labels[e.label] for stem, e in zip(stems, sample.demos, strict=True)])
    query, query_mask = padded([ids(e.text) for e in asked])
    label_words, label_mask = padded(labels)
    start = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    prompt = TokenPrompt(
        demos=demos, demo_mask=demo_mask, demo_answer_at=torch.tensor([len(stem) for stem in stems], dtype=torch.long),
        query=query, query_mask=query_mask, answer_at=query_mask.sum(1), label_words=label_words,
        label_mask=label_mask, start=torch.tensor(start, dtype=torch.long),
        separator=torch.tensor(ids(sample.separator), dtype=torch.long),
    )  # fmt: skip
    if max_length is not None:
        check_length(prompt, max_length)
    targets = (torch.tensor([e.label for e in part], dtype=torch.long) for part in (asked, sample.demos))
    return moved(TokenSample(prompt, *targets), device)


def padded(rows: Sequence[Sequence[int]]) -> tuple[Int[Tensor, "R S"], Bool[Tensor, "R S"]]:
    """Rows of tokens filled on the right with 0, and the mask of what is a token."""
    longest = max(map(len, rows), default=0)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    for row, tokens in zip(ids, rows, strict=True):
        row[: len(tokens)] = torch.tensor(tokens, dtype=torch.long)
    lengths = torch.tensor([len(row) for row in rows], dtype=torch.long)
    return ids, torch.arange(longest)[None] < lengths[:, None]


def check_single_tokens(words: Sequence[str], ids: Sequence[Sequence[int]], tokenizer: Any) -> None:
    for word, tokens in zip(words, ids, strict=True):
        if len(tokens) != 1:
            pieces = " + ".join(repr(tokenizer.decode([t])) for t in tokens)
            raise ValueError(
                f"label {word!r} is {len(tokens)} tokens here ({pieces}), not one; choose another label word, or score "
                f"labels by their mean log-probability: model.scoring={MEAN_LOG_PROBABILITY}"
            )
    if len({tokens[0] for tokens in ids}) < len(ids):
        raise ValueError(f"two of the labels {list(words)} are the same token")


def check_length(prompt: TokenPrompt, max_length: int) -> None:
    """Raises ValueError that says how many demonstrations fit before the longest query."""
    rest = len(prompt.start) + prompt.query_mask.shape[1] + prompt.label_mask.shape[1]
    ends = (prompt.demo_mask.sum(1) + len(prompt.separator)).cumsum(0) + rest
    if prompt.n_demos and int(ends[-1]) > max_length:
        fit = int((ends <= max_length).sum())
        raise ValueError(
            f"n_demos={prompt.n_demos} demonstrations and a query take {int(ends[-1])} tokens, the model's context "
            f"holds {max_length}; at most {fit} of these fit (task.n_demos={fit})"
        )


def context(prompt: TokenPrompt) -> tuple[Int[Tensor, "P"], list[int]]:
    """Start, demonstrations and separators as one sequence, and its length after 0, 1, .., K demonstrations."""
    parts, ends = [prompt.start], [len(prompt.start)]
    for index in range(prompt.n_demos):
        parts += [prompt.demo(index), prompt.separator]
        ends.append(ends[-1] + len(parts[-2]) + len(parts[-1]))
    return torch.cat(parts), ends


def demo_positions(prompt: TokenPrompt) -> Int[Tensor, "Z"]:
    """Where in `context` the demonstrations' own tokens stand: neither start nor separators."""
    _, ends = context(prompt)
    places = [torch.arange(a, b - len(prompt.separator)) for a, b in pairwise(ends)]
    return torch.cat(places) if places else torch.zeros(0, dtype=torch.long)


def moved(sample: TokenSample, device: Any) -> TokenSample:
    prompt = TokenPrompt(**{key: value.to(device) for key, value in vars(sample.prompt).items()})
    return TokenSample(prompt, sample.target.to(device), sample.demo_target.to(device))
