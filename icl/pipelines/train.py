"""Train one job, or find it finished, and draw its report."""

import statistics
from collections.abc import Mapping
from typing import Any

from icl.config import JobFailed
from icl.config.beside import changed
from icl.config.start import start_folder
from icl.pipelines.mirror import Mirror
from icl.runs import Run
from icl.training.jobs import Job, check_trainable, make_job, train


def run(cfg: Any, *, in_sweep: bool = False) -> dict[str, float]:
    """Returns the final losses of the members: median, best and worst. Raises JobFailed if it did not finish."""
    job, mirror = trained_job(cfg, in_sweep=in_sweep)
    result = job.folder.record("result")
    if not in_sweep:
        from icl.reporting.report import write_report

        print(summary(result))
        print(f"report: {write_report(job.folder)}")
    mirror.close()
    losses = result["final_loss"]
    return {"loss": statistics.median(losses), "best": min(losses), "worst": max(losses)}


def trained_job(cfg: Any, *, in_sweep: bool = False, command: str = "train") -> tuple[Job, Mirror]:
    """The job of `cfg`, finished: trained now, or found; and its tracker, which the caller closes."""
    check_trainable(cfg)
    job = make_job(cfg, overrides())
    if not in_sweep:
        state = "already trained" if cfg.resume and job.folder.finished else "training"
        print(f"{cfg.name}: {state}, seeds {job.seeds[0]}..{job.seeds[-1]}, in {job.folder.path}", flush=True)
    mirror = Mirror(cfg, job.folder, command)
    failures = train([job], on_log=mirror.log_history)
    if failures:
        mirror.close()
        raise JobFailed(failures[job.key])
    if not in_sweep:
        job.folder.make_latest()
    return job, mirror


def trained_beside(opened: Run, parts: Mapping[str, Any], key: str) -> Run:
    """The same run with other `parts` (model, train, task; see `icl.config.beside`), on the very same prompts.

    Its folder is the one that the same training would have by itself, beside that of the run; a finished one is
    found.

    Raises:
        JobFailed: it did not finish.
    """
    cfg = changed(opened.config, parts, key)
    if cfg.get("start") is not None:
        cfg.start = str(start_folder(opened.config))  # else a changed task would change what is trained before, too
    cfg.plugins, cfg.paths.outputs = list(opened.plugins), str(opened.folder.path.parents[1])
    job = make_job(cfg)
    state = "already trained" if cfg.resume and job.folder.finished else "training"
    print(f"{cfg.name}: {state}, {key}, in {job.folder.path}", flush=True)
    failures = train([job])
    if failures:
        raise JobFailed(f"{key}: {failures[job.key]}")
    return Run(job.folder, opened.plugins)


def summary(result: dict[str, Any]) -> str:
    """One line on the final losses, and one on members that diverged."""
    losses = [loss for loss in result["final_loss"] if loss == loss]
    unit = result["loss_name"]
    text = (
        f"final {unit}: median {statistics.median(losses):.6g}, range {min(losses):.6g}..{max(losses):.6g}"
        if losses
        else ""
    )
    if result["diverged"]:
        text += f"\ndiverged to nan: seeds {', '.join(map(str, result['diverged']))}"
    return text.strip()


def overrides() -> list[str]:
    """What the user typed for this job, without how it was launched."""
    from hydra.core.hydra_config import HydraConfig

    if not HydraConfig.initialized():
        return []
    return [o for o in HydraConfig.get().overrides.task if not o.lstrip("+").startswith(("launcher=", "hydra."))]
