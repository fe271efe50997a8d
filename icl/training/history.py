"""What a training leaves beside the weights: the record of its losses, snapshots on the way, and the time it took."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from icl.config import Train


@dataclass
class History:
    """`loss[i]` are the member losses at step `steps[i]`; `snapshots[k]` the weights after k updates."""

    steps: list[int] = field(default_factory=list)
    loss: list[Tensor] = field(default_factory=list)
    snapshots: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def tensors(self) -> dict[str, Tensor]:
        """Its tensors as a checkpoint holds them: loss, and snapshot.<step>.<parameter>."""
        kept = {f"snapshot.{at}.{k}": v for at, state in self.snapshots.items() for k, v in state.items()}
        return kept | {"loss": torch.stack(self.loss) if self.loss else torch.zeros(0)}

    def facts(self) -> dict[str, Any]:
        """Its plain numbers as a checkpoint holds them."""
        return {"logged": self.steps, "seconds": self.seconds, "cpu_seconds": self.cpu_seconds}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], facts: Mapping[str, Any], device: torch.device) -> "History":
        """The inverse of `tensors` and `facts`; the losses go to `device`, where more are to come."""
        snapshots: dict[int, dict[str, Tensor]] = {}
        for key, value in within("snapshot.", tensors).items():
            at, name = key.split(".", 1)
            snapshots.setdefault(int(at), {})[name] = value
        loss = [row.to(device) for row in tensors["loss"]] if facts["logged"] else []
        return cls(facts["logged"], loss, snapshots, facts["seconds"], facts.get("cpu_seconds", 0.0))


def within(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose name starts with `prefix`, without it."""
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def snapshot_steps(train: Train) -> set[int]:
    """Where weights are kept: log-spaced steps, and those that were asked for."""
    return log_spaced(train.steps, train.n_snapshots) | {s for s in train.snapshot_at or [] if s <= train.steps}


def log_spaced(steps: int, n: int) -> set[int]:
    """About n steps from 1 to `steps` in equal ratios, and 0."""
    if n == 0:
        return set()
    return {0, steps} | {int(s) for s in np.geomspace(1, max(steps, 1), n).round() if s <= steps}
