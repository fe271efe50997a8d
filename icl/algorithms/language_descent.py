"""The steps of finetuning a language model: gradients, their lengths a layer, and the optimiser."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from icl.algorithms.language_losses import LOSSES, rows
from icl.algorithms.language_weights import Parameters, layer_of, lora_one, trainable
from icl.core import TokenPrompt
from icl.models.causal_lm_shards import whole

CHUNK_FLOATS = 2**26  # of logits at a time: 256 MiB in float32


@dataclass
class Descent:
    """A run of optimiser steps on the weights of `lm`; `step` makes one, `run` the rest."""

    algorithm: Any
    lm: Any
    prompt: TokenPrompt
    parameters: Parameters
    optimizer: torch.optim.Optimizer
    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0
    _squares: list[Tensor] = field(default_factory=list)

    @classmethod
    @contextmanager
    def of(cls, algorithm: Any, lm: Any, prompt: TokenPrompt, lr: float, seed: int) -> Iterator["Descent"]:
        """Within: the weights are the algorithm's to change."""
        first = _first_gradients(algorithm, lm, prompt) if algorithm.scope == "lora_one" else None
        scope = {"layer": algorithm.layer, "rank": algorithm.rank, "seed": seed}
        with trainable(lm, algorithm.scope, **scope) as parameters:
            if first is not None:
                lora_one(lm, first, algorithm.rank)
            kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[algorithm.optimizer]
            yield cls(algorithm, lm, prompt, parameters, kind(parameters.values(), lr=lr, foreach=False))

    @property
    def batches(self) -> list[list[int]]:
        """The demonstrations of every step, in order."""
        everyone = list(range(self.prompt.n_demos))
        one_pass = [everyone] if self.algorithm.order == "full_batch" else [[k] for k in everyone]
        return (one_pass if everyone else []) * self.algorithm.epochs

    @property
    def n_steps(self) -> int:
        return len(self.batches)

    def step(self) -> None:
        """The next step; the loss before it is recorded, and the length of the update a layer."""
        begun = time.process_time()
        which = self.batches[len(self.losses)]
        loss, gradients = self.algorithm.gradient(self.lm, self.prompt, which, self.parameters)
        before = {name: p.detach().clone() for name, p in self.parameters.items()}
        for name, p in self.parameters.items():
            p.grad = gradients[name]
        self.optimizer.step()
        self._squares.append(squares_by_layer({n: p.detach() - before[n] for n, p in self.parameters.items()}))
        self.losses.append(loss)
        self.seconds += time.process_time() - begun

    def run(self, *, keep_queries: bool = False) -> Float[Tensor, "Z L Hd"] | None:
        """All remaining steps; with `keep_queries`, the attention queries of a demonstration's tokens at its step."""
        kept: dict[int, Tensor] = {}
        while len(self.losses) < self.n_steps:
            which = self.batches[len(self.losses)]
            if not keep_queries:
                self.step()
                continue
            with attention_queries(self.lm) as seen:
                self.step()
            for row, k in enumerate(which):
                span = slice(len(self.prompt.start), len(self.prompt.start) + int(self.prompt.demo_mask[k].sum()))
                kept[k] = torch.stack([q[row, span] for q in seen], 1)
        return torch.cat([kept[k] for k in sorted(kept)]) if kept else None

    def norms(self) -> Float[Tensor, "L"] | None:
        """The mean length of a step in each layer."""
        return torch.stack(self._squares).sqrt().mean(0) if self._squares else None


def gradient(
    kind: str, lm: Any, prompt: TokenPrompt, which: Sequence[int], loss: str, parameters: Parameters
) -> tuple[float, dict[str, Tensor]]:
    """The loss over some demonstrations and its gradient, in pieces of bounded memory."""
    tokens, weight = rows(prompt, which, loss)
    layers = len(lm.base_model.layers) if kind == "layer_causal" else 1
    one = int((weight > 0).sum(1).max()) * layers * lm.config.vocab_size
    total = 0.0
    for p in parameters.values():
        p.grad = None
    for some in torch.arange(len(which)).split(max(1, CHUNK_FLOATS // one)):
        value = LOSSES[kind](lm, tokens[some], weight[some])
        value.backward()  # not autograd.grad: sharded weights get theirs after it, into .grad
        total += float(value.detach())
    found = {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in parameters.items()}
    for p in parameters.values():
        p.grad = None
    return total, found


def matched(gradients: Parameters, ordinary: Parameters, match: str) -> dict[str, Tensor]:
    """Gradients as long as the ordinary ones: each layer's (`layer`), or all together (`total`)."""
    ours, theirs = squares_by_layer(gradients), squares_by_layer(ordinary)
    if match == "total":
        ours, theirs = ours.sum().expand_as(ours), theirs.sum().expand_as(theirs)
    factor = torch.where(ours > 0, (theirs / ours.clamp_min(torch.finfo(ours.dtype).tiny)).sqrt(), 0.0)
    return {name: g * factor[layer_of(name)].to(g.dtype) for name, g in gradients.items()}


def squares_by_layer(tensors: Parameters) -> Float[Tensor, "L"]:
    """Σ of squares in each layer, float64; the last entry is what stands outside the layers, where there is such."""
    layers = [layer_of(name) for name in tensors]
    sums = torch.zeros(max(layers) + 1 + (min(layers) < 0), dtype=torch.float64)
    for layer, tensor in zip(layers, tensors.values(), strict=True):
        sums[layer] += whole(tensor.detach().double().square().sum()).cpu()
    return sums


@contextmanager
def attention_queries(lm: Any) -> Iterator[list[Tensor]]:
    """Within: the first pass's attention queries of all tokens, a layer, before the rotation."""
    seen: list[Tensor] = []
    n_layers = len(lm.base_model.layers)

    def keep(_module: Any, _args: Any, output: Tensor) -> None:
        if len(seen) < n_layers:
            seen.append(output.detach().float())

    hooks = [layer.self_attn.q_proj.register_forward_hook(keep) for layer in lm.base_model.layers]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _first_gradients(algorithm: Any, lm: Any, prompt: TokenPrompt) -> dict[str, Tensor]:
    """Of the key and value weights on all demonstrations, for LoRA-One."""
    with trainable(lm, "key_value") as parameters:
        _, found = gradient("next_token", lm, prompt, range(prompt.n_demos), algorithm.loss, parameters)
    return found
