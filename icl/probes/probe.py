"""What a probe is: a question to one predictor, where a comparison is one to two.

A probe has `numbers`, the names that a claim may use (`probes/<name>/<number>`), and one of two methods:

    measure(model, task, draw)    looks at the trained bank and at prompts of its task
    measure_run(run, draw)        looks at the whole run: its snapshots, objective, configuration

`measure_run` is taken where both are there. Either returns one number a member, as a comparison does.
"""

from typing import Any, ClassVar, Protocol

from torch import Tensor

from icl.comparisons.measured import Measured
from icl.comparisons.walk import n_members
from icl.rng import Draw
from icl.runs import Run


class Probe(Protocol):
    """A question to one model about one task. `numbers` are the names that a claim may use."""

    numbers: ClassVar[tuple[str, ...]]

    def measure(self, model: Any, task: Any, draw: Draw) -> Measured: ...


def probe(asked: Any, run: Run, draw: Draw) -> Measured:
    """What the probe `asked` finds in a run, every number with one entry a member, on the CPU.

    Raises:
        ValueError: the model or the run has no part of the kind that the probe reads.
        RuntimeError: the probe gives other numbers than it lists.
    """
    whole = getattr(asked, "measure_run", None)
    measured = asked.measure(run.model, run.task, draw) if whole is None else whole(run, draw)
    unknown = set(measured.numbers) ^ set(asked.numbers)
    if unknown:
        raise RuntimeError(f"{type(asked).__name__}.numbers and what it measures differ: {sorted(unknown)}")
    members = n_members(run.model)
    return Measured(
        numbers={name: _on_cpu(v).expand(members) for name, v in measured.numbers.items()},
        intervals={name: _on_cpu(v).expand(members, 2) for name, v in measured.intervals.items()},
        curves=measured.curves,
        n_prompts=measured.n_prompts,
    )


def _on_cpu(value: Tensor) -> Tensor:
    return value.detach().cpu()
