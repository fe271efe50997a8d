"""Keeping a tracker in step with the record: rows while they come, files when they are written."""

from pathlib import Path
from typing import Any

from icl.config import build
from icl.config.schema import plain
from icl.runs import RunFolder
from icl.training.history import History

FILES = ("claims.json", "comparisons.json", "report.html", "result.json")


class Mirror:
    """One run's tracker. What it shows is never read back: the run folder is the record."""

    def __init__(self, cfg: Any, folder: RunFolder):
        self.folder, self.last_step = folder, -1
        self.tracker = build(cfg.tracker, plugins=cfg.plugins, key="tracker")
        config = {key: value for key, value in plain(cfg).items() if key != "tracker"}
        self.tracker.start(name=f"{cfg.name}-{folder.id}", run_id=folder.id, config=config, folder=folder.path)

    def log_history(self, history: History) -> None:
        """The rows of a lone bank that are new, while it trains."""
        for step, loss in zip(history.steps, history.loss, strict=True):
            self._log(step, {"loss": loss.tolist()})

    def close(self) -> None:
        """Whatever of the record was not mirrored yet, then its files."""
        for row in self.folder.metrics():
            self._log(row["step"], {key: value for key, value in row.items() if key != "step"})
        for name in FILES:
            path: Path = self.folder.path / name
            if path.exists():
                self.tracker.artifact(path)
        self.tracker.finish()

    def _log(self, step: int, metrics: dict[str, Any]) -> None:
        if step > self.last_step:
            self.tracker.log(metrics, step=step)
            self.last_step = step
