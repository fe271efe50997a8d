"""Which prompts a step of a training sees: fresh ones, or with `train.n_batches=1` one training set again and again."""

from collections.abc import Sequence
from typing import Any

import torch

from icl.config import Train
from icl.core import Sample
from icl.rng import Draw

DATA = "train"  # the name of the random stream


def training_draw(train: Any, seeds: Sequence[int], *, device: torch.device | str, dtype: torch.dtype) -> Draw:
    """The stream of a bank's prompts: one a member, or the one that all share."""
    return Draw(list(seeds) if train.stream == "own" else [train.data_seed], DATA, device=device, dtype=dtype)


def training_set(task: Any, train: Any, draw: Draw) -> Sample:
    """The `train.batch_size` examples of a training on its full batch.

    A task whose examples repeat may have `training_set(n_examples, draw)`: the same examples with equal prompts put
    together, so that a mean over its prompts is the mean over the examples.
    """
    own = getattr(task, "training_set", None)
    return (task.sample if own is None else own)(train.batch_size, draw.at(0))


class Batches:
    """`batches(task, step)`; a training set is drawn once for each stage of a curriculum."""

    def __init__(self, train: Train, draw: Draw):
        self.train, self.draw = train, draw
        self.fixed = train.n_batches == 1
        self._kept: tuple[Any, Sample] | None = None

    def __call__(self, task: Any, step: int) -> Sample:
        if not self.fixed:
            return task.sample(self.train.batch_size, self.draw.at(self.train.data_step(step)))
        if self._kept is None or self._kept[0] is not task:
            self._kept = task, training_set(task, self.train, self.draw)
        return self._kept[1]
