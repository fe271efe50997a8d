"""What comparisons get of an algorithm on text: a reading of the queries a learning rate, and the one chosen."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from icl.models.causal_lm_reading import Reading

DIVERGED = 1.5  # times the loss of the first quarter of the steps: what the last quarter may not exceed


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """The queries after training at one learning rate; nothing was trained for lr = nan."""

    lr: float
    reading: Reading
    validation_logits: Float[Tensor, "B_validation V"] | None = None
    losses: Sequence[float] = ()
    step_norms: Float[Tensor, "L_parts"] | None = None  # mean length of a step, a layer; last, what is outside them
    demo_queries: Float[Tensor, "Z L Hd"] | None = None  # of the demonstrations' tokens, when they were trained on
    seconds: float = 0.0  # of CPU, for the steps

    @property
    def diverged(self) -> bool:
        """Not finite, or the loss went up by half: excluded from every mean, and counted."""
        if not self.reading.finite or not all(map(math.isfinite, self.losses)):
            return True
        quarter = max(1, len(self.losses) // 4)
        if len(self.losses) < 2:
            return False
        return sum(self.losses[-quarter:]) > DIVERGED * sum(self.losses[:quarter])


@dataclass(frozen=True)
class Arm:
    """One entry a learning rate of the grid."""

    grid: Sequence[Tuned]
    chosen: int

    @property
    def best(self) -> Tuned:
        return self.grid[self.chosen]


def check_grid(lr: Any) -> None:
    """Raises ValueError unless `lr` is a positive number or a list of different ones."""
    values = list(lr) if isinstance(lr, Sequence) and not isinstance(lr, str) else [lr]
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value > 0):
            raise ValueError(f"lr={value!r} must be a finite number > 0, or a list of them")
    if not values or len(set(values)) < len(values):
        raise ValueError(f"lr={values} must be a list of different numbers")


def calibrated(logits: Float[Tensor, "B V"]) -> Int[Tensor, "B"]:
    """The label after the mean over the batch is taken off each label's score (the batch must be balanced)."""
    scores = logits.log_softmax(-1)
    return (scores - scores.mean(0)).argmax(-1)


def choose(tuned: Sequence[Tuned], target: Int[Tensor, "B"]) -> int:
    """The learning rate with the most validation queries right (calibrated), then the least loss; not one diverged."""
    scores = []
    for one in tuned:
        if one.diverged or one.validation_logits is None:
            scores.append((-1.0, 0.0))
            continue
        right = (calibrated(one.validation_logits) == target).float().mean().item()
        scores.append((right, -torch.nn.functional.cross_entropy(one.validation_logits, target).item()))
    return max(range(len(scores)), key=lambda i: scores[i])
