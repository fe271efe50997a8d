"""A training once more, to look at what a run does not keep: the moments of its optimiser.

Streams and first values are functions of the seed, so the replay passes through the run's own weights.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from icl.config.build import build_model
from icl.probes.parameter_norms import flat
from icl.probes.training_loss import objective_of, recipe, seeds_of
from icl.runs import Run
from icl.training.bank import Bank


@dataclass(frozen=True)
class State:
    """After `step` updates: θ and Adam's two moments (none for plain SGD), float64 rows of all parameters."""

    step: int
    theta: Float[Tensor, "M F"]
    moments: tuple[Tensor, ...]


def replay(run: Run, steps: Sequence[int]) -> Iterator[State]:
    """The states after so many updates, rising; a step beyond the training is its end."""
    train = recipe(run)
    wanted = sorted({min(step, train.steps) for step in steps})
    # The length of the training is part of its schedule, so it is cut short by not going on.
    bank = Bank(
        task=run.task, model=build_model(run.config, plugins=run.plugins), objective=objective_of(run),
        train=replace(train, n_snapshots=0, snapshot_at=None, max_seconds=None), seeds=seeds_of(run),
    )  # fmt: skip
    bank.start()
    for step in range(wanted[-1] + 1):
        if step in wanted:
            yield State(step, flat(bank.model), tuple(m.double().clone() for m in bank.optimizer.moments))
        if step < wanted[-1]:
            bank.step(step)
