"""A curriculum: fields of the task or the objective as functions of the step, piecewise constant or linear."""

from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np

from icl.config import ConfigError, Train, nearest


class Curriculum:
    """`train.curriculum`, `{"task.n_context": {0: 5, 1000: 10}}`: 5 from step 0 on, 10 from step 1000 on.

    `train.ramp`, `{"task.dropout": {0: 0.0, 300: 1.0}}`, is linear between its steps, and constant after the last (and
    before the first). Unnamed fields stay.

    Raises:
        ConfigError: a name is no field of the task or the objective, or a value is refused by it.
    """

    def __init__(self, train: Train, *, task: Any, objective: Any):
        self.parts = {"task": task, "objective": objective}
        self.stages = {key: dict(sorted(values.items())) for key, values in train.curriculum.items()}
        self.ramps = {key: dict(sorted(values.items())) for key, values in train.ramp.items()}
        self._last: tuple[Any, Any] = None, None
        for key, values in (*self.stages.items(), *self.ramps.items()):
            part, _, name = key.partition(".")
            known = {f.name for f in fields(self.parts[part])} if is_dataclass(self.parts.get(part)) else set()
            if name not in known:
                where = "curriculum" if key in self.stages else "ramp"
                raise ConfigError(f"train.{where}.{key} is no field of the task or the objective{nearest(name, known)}")
            for value in values.values():
                self._replaced(((key, value),))

    def at(self, step: int) -> tuple[Any, Any]:
        """(task, objective) in force at `step`."""
        current = []
        for key, values in self.stages.items():
            past = [value for start, value in values.items() if start <= step]
            if past:
                current.append((key, past[-1]))
        for key, values in self.ramps.items():
            current.append((key, float(np.interp(step, list(values), list(values.values())))))
        key = tuple(current)
        if key != self._last[0]:
            self._last = key, self._replaced(key)
        return self._last[1]

    def _replaced(self, current: tuple[tuple[str, Any], ...]) -> tuple[Any, Any]:
        parts = dict(self.parts)
        for key, value in current:
            part, _, name = key.partition(".")
            try:
                parts[part] = replace(parts[part], **{name: value})
            except ValueError as error:
                raise ConfigError(f"train.curriculum.{key}: {error}") from None
        return parts["task"], parts["objective"]
