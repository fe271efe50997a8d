"""The runs of a sweep as its report needs them: values of the swept keys, losses, how each run stands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from icl.runs import RunError, RunFolder


@dataclass(frozen=True)
class SweptRun:
    """One run of a sweep; `values` are texts, one a swept key."""

    folder: RunFolder
    values: Mapping[str, str]
    result: Mapping[str, Any]
    members: int

    @property
    def finished(self) -> bool:
        return self.folder.finished

    @property
    def diverged(self) -> list[int]:
        return list(self.result.get("diverged") or [])

    @cached_property
    def losses(self) -> np.ndarray:
        """The final losses of the members, infinite for one that diverged; empty before the end."""
        losses = np.array(self.result.get("final_loss") or [], dtype=float)
        return np.where(np.isfinite(losses), losses, np.inf)

    @property
    def finite(self) -> np.ndarray:
        return self.losses[np.isfinite(self.losses)]


def read_runs(folders: Sequence[RunFolder], swept: Sequence[str]) -> list[SweptRun]:
    """All runs, in their order; one that was never started has no losses and the values `not started`."""
    return [_read(folder, swept) for folder in folders]


def _read(folder: RunFolder, swept: Sequence[str]) -> SweptRun:
    import yaml

    config = yaml.load(folder.text("config.yaml"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}
    typed = dict(line.lstrip("+").split("=", 1) for line in folder.text("overrides.txt").splitlines() if "=" in line)
    try:
        result = folder.record("result")
    except RunError:
        result = {}
    values = {key: _value(config, typed, key) for key in swept}
    return SweptRun(folder, values, result, int(config.get("n_seeds", 1)))


def _value(config: Mapping[str, Any], typed: Mapping[str, str], key: str) -> str:
    """From the resolved configuration; for a group, whose node is a dict, the option that was typed."""
    node: Any = config
    for part in key.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    if isinstance(node, Mapping) or node is None:
        return typed.get(key, "default" if config else "not started")
    return f"{node:g}" if isinstance(node, float) else str(node)


def as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def ordered(values: Sequence[str]) -> list[str]:
    """Distinct values: by size if all are numbers, else in the order in which they came."""
    distinct = list(dict.fromkeys(values))
    numbers = {value: as_number(value) for value in distinct}
    return distinct if None in numbers.values() else sorted(distinct, key=lambda value: numbers[value] or 0.0)


def main_axes(runs: Sequence[SweptRun], swept: Sequence[str]) -> list[str]:
    """The swept keys, those with the most values first; `seed` is a repetition, and last."""
    count = {key: len({run.values[key] for run in runs}) for key in swept}
    return sorted(swept, key=lambda key: (key == "seed", -count[key]))
