"""A curriculum: piecewise constant fields of the task or the objective, as functions of the step."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from icl.config import ConfigError, nearest


class Curriculum:
    """`{"task.n_context": {0: 5, 1000: 10}}`: 5 from step 0 on, 10 from step 1000 on; unnamed fields stay.

    Raises:
        ConfigError: a name is no field of the task or the objective, or a value is refused by it.
    """

    def __init__(self, stages: Mapping[str, Mapping[int, Any]], *, task: Any, objective: Any):
        self.parts = {"task": task, "objective": objective}
        self.stages = {key: dict(sorted(values.items())) for key, values in stages.items()}
        self._cache: dict[tuple[Any, ...], tuple[Any, Any]] = {}
        for key, values in self.stages.items():
            part, _, name = key.partition(".")
            known = {f.name for f in fields(self.parts[part])} if is_dataclass(self.parts.get(part)) else set()
            if name not in known:
                raise ConfigError(
                    f"train.curriculum.{key} is no field of the task or the objective{nearest(name, known)}"
                )
            for value in values.values():
                self._replaced(((key, value),))

    def at(self, step: int) -> tuple[Any, Any]:
        """(task, objective) in force at `step`."""
        current = []
        for key, values in self.stages.items():
            past = [value for start, value in values.items() if start <= step]
            if past:
                current.append((key, past[-1]))
        key = tuple(current)
        if key not in self._cache:
            self._cache[key] = self._replaced(key)
        return self._cache[key]

    def _replaced(self, current: tuple[tuple[str, Any], ...]) -> tuple[Any, Any]:
        parts = dict(self.parts)
        for key, value in current:
            part, _, name = key.partition(".")
            try:
                parts[part] = replace(parts[part], **{name: value})
            except ValueError as error:
                raise ConfigError(f"train.curriculum.{key}: {error}") from None
        return parts["task"], parts["objective"]
