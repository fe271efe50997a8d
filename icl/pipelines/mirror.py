"""Keeping a tracker in step with the record: rows while they come, files when they are written."""

from pathlib import Path
from typing import Any

from icl.config import build
from icl.config.schema import plain
from icl.runs import RunFolder
from icl.tracking.null import Null
from icl.training.bank import History

FILES = ("claims.json", "comparisons.json", "report.html", "result.json")


class Mirror:
    """One run's tracker. What it shows is never read back: the run folder is the record."""

    def __init__(self, cfg: Any, folder: RunFolder, command: str = "train"):
        self.folder, self.last_step = folder, -1
        self.tracker = build(cfg.tracker, plugins=cfg.plugins, key="tracker")
        name = f"{cfg.name}-{folder.id}"
        self.tracker.start(name=name, run_id=folder.id, config=shown(cfg), folder=folder.path, command=command)

    def log_history(self, history: History) -> None:
        """The rows of a lone bank that are new, while it trains."""
        for step, loss in zip(history.steps, history.loss, strict=True):
            self._log(step, {"loss": loss.tolist()})

    def close(self) -> None:
        """Whatever of the record was not mirrored yet, then its files, and the figures of a run that has a report."""
        for row in self.folder.metrics():
            self._log(row["step"], {key: value for key, value in row.items() if key != "step"})
        for name in FILES:
            path: Path = self.folder.path / name
            if path.exists():
                self.tracker.artifact(path)
        if self.folder.has("report.html") and not isinstance(self.tracker, Null):
            from icl.reporting.report import figure_pages

            for name, html in figure_pages(self.folder).items():
                self.tracker.show(f"figures/{name}", html)
        self.tracker.finish()

    def _log(self, step: int, metrics: dict[str, Any]) -> None:
        if step > self.last_step:
            self.tracker.log(metrics, step=step)
            self.last_step = step


def shown(cfg: Any) -> dict[str, Any]:
    """The configuration as a tracker gets it."""
    return {key: value for key, value in plain(cfg).items() if key != "tracker"}


def mirror_sweep(cfg: Any, folder: Path) -> None:
    """The page and the jobs of a sweep in its folder, as a run of their own in the sweep's group."""
    tracker = build(cfg.tracker, plugins=cfg.plugins, key="tracker")
    if isinstance(tracker, Null):
        return
    tracker.start(name=folder.name, run_id=folder.name, config=shown(cfg), folder=folder, command="sweep")
    for name in ("sweep.json", "report.html"):
        tracker.artifact(folder / name)
    tracker.finish()
