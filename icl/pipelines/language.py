"""A study of a language model: nothing is trained and kept; members are asked one after the other, part by part.

A part is one comparison with one reference, or one probe, of one seed. What is done is kept under `parts/` in the run
folder, so the same command goes on where it was interrupted, and an arm added later is all that is measured.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icl.claims import judge, line, read
from icl.claims import record as claims_record
from icl.comparisons.language_parts import from_json, stacked
from icl.comparisons.measured import Measured, record
from icl.config import ConfigError
from icl.config.schema import plain
from icl.pipelines.compare import show
from icl.pipelines.language_questions import parts, seeds_of
from icl.pipelines.language_ranks import answer, peak_gib
from icl.pipelines.mirror import Mirror
from icl.pipelines.train import overrides
from icl.runs import Run, RunFolder, digest
from icl.training.outcome import git_commit, versions

WHAT = ("task", "model", "dtype", "seed", "n_seeds")  # makes a run what it is; arms and questions are added to it


@dataclass(frozen=True)
class Study:
    """A measured study: its folder, the content of comparisons.json, and its seeds."""

    folder: RunFolder
    found: dict[str, Any]
    seeds: list[int]
    mirror: Mirror


def run(cfg: Any, *, in_sweep: bool = False) -> dict[str, float]:
    """Measure, judge the claims if there are any, draw the report; medians over seeds."""
    if cfg.probe.plan:
        from icl.pipelines.plan import plan

        return plan(cfg)
    done = study(cfg)
    judgements = judge(read(plain(cfg.claims)), done.found["numbers"], done.seeds)
    if judgements:
        done.folder.write_record("claims", claims_record(cfg.name, judgements))
    shown = show(Run(done.folder, tuple(cfg.plugins)), done.found, in_sweep)
    for judgement in judgements:
        print(line(judgement))
    done.mirror.close()
    return shown


def study(cfg: Any) -> Study:
    """Every part of `cfg`, measured now or found.

    Raises:
        ConfigError: the model or the data are not there, or do not fit each other; before anything is measured.
        JobFailed: a rank died.
    """
    if not (cfg.references and cfg.comparisons) and not cfg.probes:
        raise ConfigError("nothing to ask; name an experiment, or mount +probe@probes.icl=icl_accuracy")
    values = plain(cfg)
    folder = RunFolder(Path(cfg.paths.outputs) / cfg.name / digest({key: values[key] for key in WHAT}))
    begun, cpu = time.perf_counter(), time.process_time()
    elsewhere, peak = answer(cfg, folder, overrides())
    mirror = Mirror(cfg, folder, "probe")
    measured: dict[str, list[Measured]] = {}
    for part in parts(cfg, folder.path):
        measured.setdefault(part.at, []).append(from_json(json.loads(part.path.read_text())))
    found = record({at: stacked(answers) for at, answers in measured.items()})
    folder.write_record("comparisons", found)
    wall, spent = time.perf_counter() - begun, time.process_time() - cpu + elsewhere
    _finish(cfg, folder, wall, spent, max(peak, peak_gib()))
    folder.make_latest()
    return Study(folder, found, seeds_of(cfg), mirror)


def _finish(cfg: Any, folder: RunFolder, wall: float, cpu: float, peak: float) -> None:
    """result.json, with the time that this command took (what was found again cost nothing)."""
    before = folder.record("result") if folder.has("result.json") and cfg.resume else {}
    result = {
        "name": cfg.name, "id": folder.id, "question": cfg.question, "seeds": seeds_of(cfg), "kind": "language",
        "diverged": [], "device": cfg.device, "dtype": cfg.dtype,
        "wall_seconds": round(before.get("wall_seconds", 0) + wall, 3),
        "cpu_seconds": round(before.get("cpu_seconds", 0) + cpu, 3), "peak_gib": round(peak, 2),
        "versions": versions(), "git_commit": git_commit(),
    }  # fmt: skip
    folder.write_record("result", result)
    folder.finish()
