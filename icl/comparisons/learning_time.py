"""How long a surrogate needs to learn all rules, over how long another run needs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

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


def held(W: Float[Tensor, "M d n2 n2"], run: Run) -> Float[Tensor, "M d n2"]:
    """1 where column c of W_l has its largest entry at π_l(c)."""
    return (W.argmax(2).cpu() == run.task.fixed_books(Draw(members(run), "books"))).double()


def shares_held(run: Run) -> tuple[list[int], Float[Tensor, "M K"]]:
    """(steps, share of all rules that are held) at every snapshot; read as tensors, as there are hundreds.

    Raises:
        ValueError: the model is no surrogate.
    """
    snapshots = {key: value for key, value in run.folder.tensors("snapshots").items() if key.endswith("/W")}
    if not snapshots or next(iter(snapshots.values())).ndim != 4:
        raise ValueError(f"{type(run.model).__name__} keeps no phrasebooks in W; it needs model=surrogate_mlt")
    steps = sorted(int(key.split("/")[0]) for key in snapshots)
    return steps, torch.stack([held(snapshots[f"{step:08d}/W"], run).mean((1, 2)) for step in steps], 1)


def steps_to_all(run: Run) -> Float[Tensor, "M"]:
    """The first snapshot from which on all rules are held, nan if there is none."""
    return first_of_all(*shares_held(run))


def first_of_all(steps: Sequence[int], share: Float[Tensor, "M K"]) -> Float[Tensor, "M"]:
    """The first step from which on the share is 1."""
    after = (share == 1).double().flip(1).cumprod(1).flip(1)
    first = torch.tensor(steps, dtype=torch.float64)[after.argmax(1)]
    return first.where(after[:, -1] == 1, torch.nan)
