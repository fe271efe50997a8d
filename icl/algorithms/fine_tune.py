"""Finetuning on the demonstrations, as an algorithm: its steps are optimiser steps, and it forgets them afterwards.

References:
    Dai et al. 2022, Why can GPT learn in-context?, arXiv:2212.10559
    Deutch et al. 2023, arXiv:2311.07772;  Shen et al. 2023, arXiv:2310.08540
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from icl.algorithms.language_arm import Arm, Tuned, check_grid, choose
from icl.algorithms.language_descent import Descent, gradient
from icl.algorithms.language_weights import Parameters
from icl.core import TokenPrompt, TokenSample


@dataclass(frozen=True, kw_only=True)
class FineTune:
    """Gradient steps on the demonstrations, each a sequence of its own; then the queries without any demonstration.

        θ_{t+1} = θ_t − lr ∇L_t(θ_t),   L_t of demonstration t (sequential), or the mean over all (full_batch)

    trajectory[t] is the scores of the label words after t steps; entry 0 is zero-shot. The defaults are Dai et al.'s:
    keys and values only, SGD, one pass in the order of the demonstrations, the loss at all tokens. `lr` may be a list,
    a grid: every one is measured, and one chosen on the validation queries. `start` says what is trained, and which
    weights its in-context counterpart has: the checkpoint or an untrained model of the member's seed.
    """

    reads: ClassVar[str] = "words"
    lr: Any = 0.003  # a number, or a list of them; Any: whatever a YAML file says, so that our line refuses it
    scope: Literal["key_value", "full", "value", "lora", "lora_one"] = "key_value"
    layer: int | None = None  # scope=value: W_V of this layer
    rank: int = 4  # scope=lora and lora_one
    loss: Literal["all", "label"] = "all"
    order: Literal["sequential", "full_batch"] = "sequential"
    epochs: int = 1  # full_batch: steps
    optimizer: Literal["sgd", "adam"] = "sgd"
    start: Literal["trained", "random", "trained_embeddings"] = "trained"

    def __post_init__(self) -> None:
        check_grid(self.lr)
        if self.epochs < 1 or self.rank < 1:
            raise ValueError(f"epochs={self.epochs} and rank={self.rank} must be >= 1")
        if (self.scope == "value") != (self.layer is not None):
            raise ValueError(f"layer={self.layer} belongs to scope=value (here: {self.scope}), which needs it")

    @property
    def grid(self) -> list[float]:
        return [float(lr) for lr in self.lr] if isinstance(self.lr, Sequence) else [float(self.lr)]

    def gradient(
        self, lm: Any, prompt: TokenPrompt, which: Sequence[int], parameters: Parameters
    ) -> tuple[float, dict[str, Tensor]]:
        """The loss over some demonstrations, and what a step goes against."""
        return gradient("next_token", lm, prompt, which, self.loss, parameters)

    @contextmanager
    def descent(self, model: Any, prompt: TokenPrompt, lr: float, seed: int) -> Iterator[Descent]:
        """Within: the model is trained step by step; afterwards it is as before."""
        lm, _ = model.weights(self.start, seed)
        with Descent.of(self, lm, prompt, lr, seed) as descent:
            yield descent

    def __call__(
        self, prompt: TokenPrompt, *, model: Any, steps: int | None = None, seed: int = 0
    ) -> Float[Tensor, "T 1 B V"]:
        """The first learning rate's trajectory."""
        with self.descent(model, prompt, self.grid[0], seed) as descent:
            wanted = descent.n_steps if steps is None else steps
            if not 0 <= wanted <= descent.n_steps:
                raise ValueError(f"steps={steps} must be in 0..{descent.n_steps}")

            def guess() -> Tensor:
                return model.read(prompt, n_demos=0, start=self.start, seed=seed).label_logits

            trajectory = [guess()]
            for _ in range(wanted):
                descent.step()
                trajectory.append(guess())
        return torch.stack(trajectory)[:, None]

    def tuned(
        self, model: Any, prompt: TokenPrompt, *, lr: float, seed: int, capture: bool = False,
        validation: TokenPrompt | None = None,
    ) -> Tuned:  # fmt: skip
        """The queries (and those of `validation`) after all steps at one learning rate."""
        asked: dict[str, Any] = {"n_demos": 0, "start": self.start, "seed": seed}
        with self.descent(model, prompt, lr, seed) as descent:
            queries = descent.run(keep_queries=capture)
            return Tuned(
                lr=lr, reading=model.read(prompt, capture=capture, **asked), losses=descent.losses,
                validation_logits=None if validation is None else model.read(validation, **asked).label_logits,
                step_norms=descent.norms(), demo_queries=queries, seconds=descent.seconds,
            )  # fmt: skip

    def arm(self, model: Any, sample: TokenSample, validation: TokenSample, *, seed: int, capture: bool = True) -> Arm:
        """The whole grid, and which of it the validation queries choose."""
        asked = validation.prompt if len(self.grid) > 1 and len(validation.target) else None
        tuned = [
            self.tuned(model, sample.prompt, lr=lr, seed=seed, capture=capture, validation=asked) for lr in self.grid
        ]
        return Arm(tuned, choose(tuned, validation.target))
