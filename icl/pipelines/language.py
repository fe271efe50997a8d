"""A study of a language model: nothing is trained and kept; members are asked one after the other, part by part.

A part is one comparison with one reference, or one probe, of one seed. What is done is kept under `parts/` in the run
folder, so the same command goes on where it was interrupted, and an arm added later is all that is measured.
"""

import json
import resource
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icl.atomic import write_json
from icl.claims import judge, line, read
from icl.claims import record as claims_record
from icl.claims.claim import PROBES
from icl.comparisons.language_member import Member
from icl.comparisons.language_parts import from_json, stacked, to_json
from icl.comparisons.measured import Measured, record
from icl.comparisons.walk import compare
from icl.config import ConfigError, build, build_model
from icl.config.schema import plain
from icl.config.yaml_text import as_yaml
from icl.pipelines.compare import show
from icl.pipelines.mirror import Mirror
from icl.pipelines.train import overrides
from icl.rng import Draw
from icl.runs import Run, RunFolder, digest
from icl.training.outcome import git_commit, versions

WHAT = ("task", "model", "dtype", "seed", "n_seeds")  # makes a run what it is; arms and questions are added to it
HEADLINES = ("gain", "sim_aou", "sim_am_delta", "accuracy", "ratio_most")


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
    """
    if not (cfg.references and cfg.comparisons) and not cfg.probes:
        raise ConfigError("nothing to ask; name an experiment, or mount +probe@probes.icl=icl_accuracy")
    seeds = list(range(cfg.seed, cfg.seed + cfg.n_seeds))
    values = plain(cfg)
    folder = RunFolder(Path(cfg.paths.outputs) / cfg.name / digest({key: values[key] for key in WHAT}))
    begun, cpu = time.perf_counter(), time.process_time()
    model, task = build_model(cfg), build(cfg.task, plugins=cfg.plugins, key="task")
    n_queries = task.n_queries if cfg.max_prompts is None else min(task.n_queries, cfg.max_prompts)
    try:
        members = [Member(model, task, seed, n_queries) for seed in seeds]
    except ValueError as error:
        raise ConfigError(f"task and model: {error}") from None
    print(f"{cfg.name}: asking {cfg.model.name}, seeds {seeds[0]}..{seeds[-1]}, in {folder.path}", flush=True)
    try:
        folder.open(as_yaml(cfg), overrides())
    except OSError as error:
        raise ConfigError(f"paths.outputs={cfg.paths.outputs}: cannot write there ({error.strerror})") from None
    mirror = Mirror(cfg, folder, "probe")
    measured: dict[str, list[Measured]] = {}
    while members:
        member = members.pop(0)  # and its readings are gone with it
        for at, part in _parts(cfg, member, folder, n_queries):
            measured.setdefault(at, []).append(part)
    found = record({at: stacked(parts) for at, parts in measured.items()})
    folder.write_record("comparisons", found)
    _finish(cfg, folder, seeds, time.perf_counter() - begun, time.process_time() - cpu)
    folder.make_latest()
    return Study(folder, found, seeds, mirror)


def _parts(cfg: Any, member: Member, folder: RunFolder, n_queries: int) -> Iterator[tuple[str, Measured]]:
    """(<reference>/<comparison> or probes/<probe>, what was measured) of one member."""
    draw = Draw([member.seed], "study")
    where = folder.path / "parts"
    where.mkdir(exist_ok=True)

    def kept(at: str, nodes: Any, ask: Any) -> tuple[str, Measured]:
        path = where / f"{digest([member.seed, n_queries, nodes])}.json"
        if cfg.resume and path.exists():
            return at, from_json(json.loads(path.read_text()))
        begun = time.process_time()
        found = ask()
        seconds = time.process_time() - begun
        write_json(path, to_json(found) | {"at": at, "seed": member.seed, "cpu_seconds": round(seconds, 2)})
        if cfg.progress:
            print(f"  seed {member.seed}  {at:36s} {_headline(found)}  {seconds:.1f} s", flush=True)
        return at, found

    for name, node in plain(cfg.probes).items():
        probe = build(node, plugins=cfg.plugins, key=f"probes.{name}")
        yield kept(f"{PROBES}/{name}", [node], lambda probe=probe: probe.measure(member, member.task, draw))
    for name, node in _by_start(plain(cfg.references)):
        reference = build(node, plugins=cfg.plugins, key=f"references.{name}")
        for question, asked in plain(cfg.comparisons).items():
            comparison = build(asked, plugins=cfg.plugins, key=f"comparisons.{question}")
            if not getattr(comparison, "fits", lambda _: True)(reference):
                continue
            ask = lambda c=comparison, r=reference: compare(c, member, r, member.task, draw)  # noqa: E731
            yield kept(f"{name}/{question}", [node, asked], ask)


def _by_start(references: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Arms that begin at the same weights together: one untrained model is drawn at a time."""
    return sorted(references.items(), key=lambda item: str(item[1].get("start", "")))


def _headline(found: Measured) -> str:
    shown = [f"{name} {found.numbers[name][0].item():.4g}" for name in HEADLINES if name in found.numbers]
    return ", ".join(shown)


def _finish(cfg: Any, folder: RunFolder, seeds: list[int], wall: float, cpu: float) -> None:
    """result.json, with the time that this command took (what was found again cost nothing)."""
    before = folder.record("result") if folder.has("result.json") and cfg.resume else {}
    result = {
        "name": cfg.name, "id": folder.id, "question": cfg.question, "seeds": seeds, "kind": "language", "diverged": [],
        "device": cfg.device, "dtype": cfg.dtype, "wall_seconds": round(before.get("wall_seconds", 0) + wall, 3),
        "cpu_seconds": round(before.get("cpu_seconds", 0) + cpu, 3),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "versions": versions(), "git_commit": git_commit(),
    }  # fmt: skip
    folder.write_record("result", result)
    folder.finish()
