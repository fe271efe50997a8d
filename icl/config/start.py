"""A run that goes on from another: `start: DIR`, a finished run's folder, or what to train differently before.

    start: {task: {books: fresh}, objective: {levels: all}, train: {steps: 500}}

A part with a `_target_` replaces the run's own, another is merged into it; everything else is as here. That run is
trained first, or found; its folder is the one that it would have by itself (below `name`, if given: several experiments
may share it). The start is a part of what a run is.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from icl.config.beside import PARTS, changed
from icl.config.schema import plain

BEFORE = (*PARTS, "objective", "name", "seed", "n_seeds", "start", "accelerate", "devices")


def start_config(cfg: Any) -> Any:
    """The configuration of the run that is trained before `cfg`, or None if there is none to train."""
    start = plain(cfg.get("start"))
    if not isinstance(start, Mapping):
        return None
    before = changed(cfg, {"start": None} | dict(start), "start", BEFORE)
    for asked in ("references", "comparisons", "probes", "claims"):
        before[asked] = {}
    before.resume = True  # to start over is said of the run itself
    return before


def start_folder(cfg: Any) -> Path | None:
    """The folder of the run that `cfg` goes on from."""
    from icl.config.identity import identity

    if cfg.get("start") is None:
        return None
    before = start_config(cfg)
    return Path(cfg.start) if before is None else Path(cfg.paths.outputs) / before.name / identity(before)


def start_id(cfg: Any) -> str:
    """The id of the run that `cfg` goes on from; `latest` is the run that it points to."""
    from icl.config.identity import identity

    before = start_config(cfg)
    return Path(cfg.start).resolve().name if before is None else identity(before)
