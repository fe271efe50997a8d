"""Mirrors of the record, for those who want to watch elsewhere: `metrics.jsonl` is the record, always."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol


class Tracker(Protocol):
    """Follows one run, from `start` to `finish`.

    A metric is one number, or a sequence of one number a bank member. Building a tracker touches neither disk
    nor network: a configuration that is only checked leaves nothing behind.
    """

    def start(
        self, *, name: str, run_id: str, config: dict[str, Any], folder: Path, command: str = "train"
    ) -> None: ...

    def log(self, metrics: Mapping[str, Any], *, step: int) -> None: ...

    def artifact(self, path: Path) -> None: ...

    def show(self, name: str, html: str) -> None: ...

    def finish(self) -> None: ...
