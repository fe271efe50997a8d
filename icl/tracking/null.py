"""No mirror: the run folder is all there is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Null:
    """A tracker that does nothing (`tracker=none`, the default)."""

    def start(self, *, name: str, run_id: str, config: dict[str, Any], folder: Path, command: str = "train") -> None:
        pass

    def log(self, metrics: Mapping[str, Any], *, step: int) -> None:
        pass

    def artifact(self, path: Path) -> None:
        pass

    def show(self, name: str, html: str) -> None:
        pass

    def finish(self) -> None:
        pass
