"""A sweep: compose and check all jobs, train them as banks, run the pipeline on each, draw one report."""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, setup_globals
from hydra.errors import HydraException
from omegaconf import OmegaConf

from icl.atomic import write_json
from icl.config import ConfigError, JobFailed, validate
from icl.config.app import pipeline_of
from icl.config.kinds import reads_words
from icl.launch.composing import Composer
from icl.pipelines.mirror import mirror_sweep
from icl.reporting.sweep import write_member_page, write_sweep_report
from icl.runs import RunError
from icl.training.jobs import Job, check_trainable, make_job, train, unfinished

NOT_SWEPT = ("launcher=", "cluster", "hydra.", "hydra/")


def launch(launcher: Any, job_overrides: Sequence[Sequence[str]], first_index: int) -> list[JobReturn]:
    """What a Hydra launcher does; returns one JobReturn a job, in their order.

    Raises:
        SystemExit: 2 with one line if a job is not valid (nothing was started), 1 if some job failed.
    """
    setup_globals()
    sweep_dir = Path(str(launcher.config.hydra.sweep.dir))
    try:
        compose = Composer(launcher.hydra_context.config_loader, launcher.config)
        jobs, returns = _compose(compose, job_overrides, first_index, sweep_dir.name)
        if launcher.task_function.pipeline == "train":
            for job in jobs:
                check_trainable(job.cfg)
    except (ConfigError, RunError) as error:
        _remove_if_unused(sweep_dir)
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except HydraException:
        _remove_if_unused(sweep_dir)
        raise
    members = sum(len(job.seeds) for job in jobs)
    done = sum(job.folder.finished and bool(job.cfg.resume) for job in jobs)
    print(f"sweep: {len(jobs)} jobs, {members} members, {done} jobs already finished", flush=True)
    pipeline = pipeline_of(launcher.task_function.pipeline)
    trains = hasattr(pipeline, "trained_job")
    found = _elsewhere(launcher, jobs) if trains else {}
    failures = {key: outcome.error for key, outcome in found.items() if outcome.error}
    here = [job for job in jobs if job.key not in found and not reads_words(job.cfg)]
    failures |= train(here) if trains else {}
    for job, returned in zip(jobs, returns, strict=True):
        returned.hydra_cfg = compose.hydra(returned.overrides or [])
        _run(pipeline.run, job, returned, failures, found)
    earlier = launcher.__dict__.setdefault("earlier", [])  # a sweeper may launch batch after batch
    earlier += zip(jobs, returns, strict=True)
    _report(sweep_dir, *zip(*earlier, strict=True))
    if failures:
        print(f"{len(failures)} of {len(jobs)} jobs failed; the others are done:", file=sys.stderr)
        for job in jobs:
            if job.key in failures:
                print(f"  {' '.join(job.overrides)}: {failures[job.key]}", file=sys.stderr)
        raise SystemExit(1)
    return returns


def _compose(
    compose: Composer, job_overrides: Sequence[Sequence[str]], first: int, group: str
) -> tuple[list[Job], list[JobReturn]]:
    jobs, returns = [], []
    for index, overrides in enumerate(job_overrides, start=first):
        full = compose(overrides)
        typed = [o for o in overrides if not o.lstrip("+").startswith(NOT_SWEPT)]
        OmegaConf.resolve(full)
        if OmegaConf.is_dict(full.tracker) and full.tracker.get("group", "") is None:
            full.tracker.group = group
        try:
            validate(full)
            jobs.append(make_job(full, typed))
        except ConfigError as error:
            raise ConfigError(f"job #{index} ({' '.join(overrides)}): {error}") from None
        returned = JobReturn(overrides=list(overrides), cfg=full)
        returned.task_name = "lab"
        returns.append(returned)
    return jobs, returns


class Numbers(dict[str, float]):
    """What a pipeline returns; a sweeper that wants one number, such as Optuna, gets the first. nan is infinite."""

    def __float__(self) -> float:
        value = next(iter(self.values()))
        return math.inf if math.isnan(value) else value


def _elsewhere(launcher: Any, jobs: Sequence[Job]) -> dict[str, Any]:
    """Job key -> Outcome, from a launcher that trains in other processes; training here needs only what is left."""
    if not hasattr(launcher, "elsewhere"):
        return {}
    name = launcher.task_function.pipeline
    wanted = unfinished(jobs) if name == "train" else jobs  # what else a pipeline does is left to the workers, too
    try:
        return launcher.elsewhere(name, wanted) if wanted else {}
    except (ConfigError, SystemExit) as end:  # nothing was submitted: it could not be, or a script was asked for
        _remove_if_unused(Path(str(launcher.config.hydra.sweep.dir)))
        if isinstance(end, SystemExit):
            raise
        print(f"error: {end}", file=sys.stderr)
        raise SystemExit(2) from None


def _run(pipeline: Any, job: Job, returned: JobReturn, failures: dict[str, str], found: dict[str, Any]) -> None:
    """The pipeline on one job, which finds its training done; or what it returned elsewhere."""
    HydraConfig.instance().cfg = returned.hydra_cfg  # pyright: ignore[reportAttributeAccessIssue]
    try:
        if job.key in failures:
            raise JobFailed(failures[job.key])
        numbers = found[job.key].numbers if job.key in found else pipeline(job.cfg, in_sweep=True)
        returned.return_value = Numbers(numbers)
        returned.status = JobStatus.COMPLETED
    except (ConfigError, JobFailed, RunError) as error:
        returned.return_value = error
        returned.status = JobStatus.FAILED
        failures[job.key] = str(error)


def _report(sweep_dir: Path, jobs: Sequence[Job], returns: Sequence[JobReturn]) -> None:
    axes = swept([job.overrides for job in jobs])
    sweep_dir.mkdir(parents=True, exist_ok=True)
    write_json(
        sweep_dir / "sweep.json",
        {
            "axes": axes,
            "jobs": [
                {"folder": str(job.folder.path), "overrides": list(job.overrides), "status": returned.status.name}
                for job, returned in zip(jobs, returns, strict=True)
            ],
        },
    )
    page = write_sweep_report(sweep_dir, [job.folder for job in jobs], axes)
    for job in jobs:
        if job.folder.finished and not job.folder.has("report.html"):
            write_member_page(job.folder, page)
    mirror_sweep(jobs[0].cfg, sweep_dir)
    print(f"report: {page}", flush=True)


def swept(overrides: Sequence[Sequence[str]]) -> list[str]:
    """The keys whose values differ between jobs."""
    values: dict[str, set[str]] = {}
    for job in overrides:
        for override in job:
            key, _, value = override.lstrip("+").partition("=")
            values.setdefault(key, set()).add(value)
    return [key for key, seen in values.items() if len(seen) > 1]


def _remove_if_unused(sweep_dir: Path) -> None:
    """Hydra's sweeper has made the folder before any job could be checked; a refused sweep leaves none."""
    if (sweep_dir / "sweep.json").exists():
        return
    (sweep_dir / "multirun.yaml").unlink(missing_ok=True)
    for folder in (sweep_dir, *sweep_dir.parents):
        try:
            folder.rmdir()
        except OSError:  # not empty, or not ours
            return
