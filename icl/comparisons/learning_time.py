"""How long a surrogate needs to learn all rules, over how long another run needs."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from icl.comparisons.measured import Measured
from icl.comparisons.translated import members
from icl.rng import Draw
from icl.runs import Run


@dataclass(frozen=True, kw_only=True)
class LearningTime:
    """ratio: steps until the reference holds all of its rules over those until the run holds all of its own.

    Steps are those of snapshots; nan where either never does. Sizes may differ, seeds are paired.
    """

    numbers: ClassVar[tuple[str, ...]] = ("ratio",)

    def measure_runs(self, run: Run, reference: Run, draw: Draw) -> Measured:
        return Measured(numbers={"ratio": steps_to_all(reference) / steps_to_all(run)})


def held(model: Any, run: Run) -> Float[Tensor, "M d n2"]:
    """1 where column c of W_l has its largest entry at π_l(c).

    Raises:
        ValueError: the model is no surrogate.
    """
    if not hasattr(model, "W") or model.W.ndim != 4:
        raise ValueError(f"{type(model).__name__} keeps no phrasebooks in W; it needs model=surrogate_mlt")
    return (model.W.argmax(2).cpu() == run.task.fixed_books(Draw(members(run), "books"))).double()


def steps_to_all(run: Run) -> Float[Tensor, "M"]:
    """The first snapshot from which on all rules are held, nan if there is none."""
    steps, found = zip(*((step, held(model, run).flatten(1).amin(1)) for step, model in run.snapshots()), strict=True)
    after = torch.stack(found).flip(0).cumprod(0).flip(0)  # held at this one and all later ones
    first = torch.tensor(steps, dtype=torch.float64)[after.argmax(0)]
    return first.where(after[-1] == 1, torch.nan)
