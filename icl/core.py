"""The one idea: a trained transformer and a written-down algorithm are both a `Predictor`.

A predictor reads a prompt and returns its guess after every step. Layers, loops, chain-of-thought tokens and
gradient steps are the same axis T, so "is this layer a GD step?" is a comparison of two predictors on one task.

Axes, in annotations, einsum strings and prose:
    M  bank members (size 1: one member, or shared by all; `#M` broadcasts)     B  prompts
    N  context pairs     D  covariate dimension     P  positions     T  steps, entry 0 = before any step
    *out  the shape of one label: nothing for a scalar, O for several outputs, D for a weight vector
In text: K demonstrations, B queries, S tokens, V label words, W tokens of a label word
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor

from icl.rng import Draw


@dataclass(frozen=True)
class Prompt:
    """What a predictor may see: N labelled pairs and one query."""

    x: Float[Tensor, "#M B N D"]
    y: Float[Tensor, "#M B N *out"]
    x_query: Float[Tensor, "#M B D"]

    def expand(self, n_members: int) -> "Prompt":
        """Every field as a view with M = n_members (sensitivities of a bank on one shared stream need it)."""
        return Prompt(*(t.expand(n_members, *t.shape[1:]) for t in (self.x, self.y, self.x_query)))

    def positions(self) -> tuple[Float[Tensor, "#M B P D"], Float[Tensor, "#M B P"]]:
        """(x, y) at all P = N + 1 positions, the query last with y = 0, which no guess may read."""
        x = torch.cat([self.x, self.x_query[:, :, None]], 2)
        return x, torch.cat([self.y, torch.zeros_like(self.x_query[:, :, :1])], 2)

    def chunk(self, start: int, stop: int) -> "Prompt":
        """Prompts start..stop-1 of the batch."""
        return Prompt(self.x[:, start:stop], self.y[:, start:stop], self.x_query[:, start:stop])


@dataclass(frozen=True)
class Sample:
    """A prompt and what a predictor may not see; the target stands outside, so a label cannot leak.

    The prompt is a `Prompt`, or what a task of another kind shows: a frozen dataclass with `chunk`.
    """

    prompt: Any
    target: Num[Tensor, "#M B *out"]
    w_star: Float[Tensor, "#M B D ..."] | None  # (D,), or (D, O) for several outputs; None: there is no such thing


@dataclass(frozen=True)
class TokenPrompt:
    """One context of K demonstrations and B queries, as tokens: what a language model may see.

    Rows are padded on the right; the masks say what is a token. The answer of a row is the token(s) at `answer_at`: in
    a demonstration its label stands there, a query ends just before.
    """

    demos: Int[Tensor, "K S"]
    demo_mask: Bool[Tensor, "K S"]
    demo_answer_at: Int[Tensor, "K"]
    query: Int[Tensor, "B S_query"]
    query_mask: Bool[Tensor, "B S_query"]
    answer_at: Int[Tensor, "B"]
    label_words: Int[Tensor, "V W"]  # tokens of every label word
    label_mask: Bool[Tensor, "V W"]
    start: Int[Tensor, "S_start"]  # what every sequence begins with: BOS, or nothing
    separator: Int[Tensor, "S_separator"]  # after every demonstration of a context

    @property
    def n_demos(self) -> int:
        return self.demos.shape[0]

    def demo(self, index: int) -> Int[Tensor, "S_demo"]:
        """The tokens of one demonstration with its label, without start and separator."""
        return self.demos[index][self.demo_mask[index]]

    def reordered(self, order: Int[Tensor, "K"]) -> "TokenPrompt":
        """The same demonstrations in another order (or fewer of them), the same queries."""
        return replace(
            self, demos=self.demos[order], demo_mask=self.demo_mask[order], demo_answer_at=self.demo_answer_at[order]
        )


@dataclass(frozen=True)
class TokenSample:
    """A prompt in tokens, and the true label word of every query and demonstration."""

    prompt: TokenPrompt
    target: Int[Tensor, "B"]
    demo_target: Int[Tensor, "K"]


class Task(Protocol):
    """Where prompts come from. The same draw gives the same sample."""

    def sample(self, batch_size: int, draw: Draw) -> Sample: ...


class Predictor(Protocol):
    """Anything that guesses after every step: `trajectory[t]` is the guess after t steps.

    `steps=` asks for another depth than the one trained or written down; None is that depth.
    Optional methods: `last(prompt)` (only the final guess, faster), `every_prefix(x, y)` (all positions at once).
    """

    def __call__(self, prompt: Prompt, *, steps: int | None = None) -> Float[Tensor, "T #M B *out"]: ...


Objective = Callable[[Any, Sample], Tensor]  # (model, sample) -> "M", one number a member


def last_step(predictor: Any, prompt: Any) -> Float[Tensor, "#M B *out"]:
    """The final guess, by the predictor's own fast form where it has one."""
    last = getattr(predictor, "last", None)
    return predictor(prompt)[-1] if last is None else last(prompt)


def every_prefix(
    predictor: Any, x: Float[Tensor, "#M B P D"], y: Float[Tensor, "#M B P"]
) -> Float[Tensor, "T #M B P *out"]:
    """Entry i is the guess of y_i from the pairs before i, by the predictor's own form or one call a prefix."""
    own = getattr(predictor, "every_prefix", None)
    if own is not None:
        return own(x, y)
    calls = [predictor(Prompt(x[:, :, :i], y[:, :, :i], x[:, :, i])) for i in range(x.shape[2])]
    return torch.stack(calls, dim=3)


def last_every_prefix(predictor: Any, prompt: Prompt) -> Float[Tensor, "#M B P"]:
    """The final guess at all P = N + 1 positions, by the predictor's own fast form where it has one."""
    last = getattr(predictor, "last_every_prefix", None)
    x, y = prompt.positions()
    return every_prefix(predictor, x, y)[-1] if last is None else last(x, y)
