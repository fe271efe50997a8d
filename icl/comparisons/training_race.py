"""Two runs on the way: whose loss is lower at a step, and which of their members get to the bottom."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from icl.comparisons.measured import Curve, Measured
from icl.rng import Draw
from icl.runs import Run


@dataclass(frozen=True, kw_only=True)
class TrainingRace:
    """Training losses of a run and of one beside it, as logged: member against member, at `step` and at the end.

        ratio                     loss over the reference's at `step`
        median_ratio              median over members over the reference's median
        faster_share              share of members with the lower loss there
        solved_share, reference_solved_share    share whose last loss is below `solved`

    All but `ratio` are of all members together, so equal for each.
    """

    numbers: ClassVar[tuple[str, ...]] = (
        "ratio", "median_ratio", "faster_share", "solved_share", "reference_solved_share",
    )  # fmt: skip
    step: int = 100
    solved: float = 1e-6

    def __post_init__(self) -> None:
        if self.step < 0 or self.solved <= 0:
            raise ValueError(f"step={self.step}, solved={self.solved} must be >= 0 and > 0")

    def measure_runs(self, run: Run, reference: Run, draw: Draw) -> Measured:
        steps, own = _losses(run)
        other_steps, other = _losses(reference)
        if steps != other_steps:
            raise ValueError("the two runs were logged at different steps (train.log_every, train.steps)")
        at = max(i for i, step in enumerate(steps) if step <= self.step)

        def share(holds: Tensor) -> Tensor:
            return holds.double().mean().expand(len(own))

        return Measured(
            numbers={
                "ratio": own[:, at] / other[:, at],
                "median_ratio": (own[:, at].median() / other[:, at].median()).expand(len(own)),
                "faster_share": share(own[:, at] < other[:, at]),
                "solved_share": share(own[:, -1] < self.solved),
                "reference_solved_share": share(other[:, -1] < self.solved),
            },
            curves={"loss": _curve(steps, own, other)},
        )


def _losses(run: Run) -> tuple[list[int], Float[Tensor, "M K"]]:
    rows = run.metrics
    if not rows:
        raise ValueError("the run kept no record of its loss (metrics.jsonl)")
    loss = [[float("nan") if v is None else v for v in row["loss"]] for row in rows]
    return [row["step"] for row in rows], torch.tensor(loss, dtype=torch.float64).T


def _curve(steps: list[int], own: Tensor, other: Tensor) -> Curve:
    return Curve(
        kind="line", title="Training loss", x_label="training step", y_label="training loss", x=steps,
        model=own.clamp(min=1e-30).tolist(), reference=other.clamp(min=1e-30).tolist(), log_y=True,
    )  # fmt: skip
