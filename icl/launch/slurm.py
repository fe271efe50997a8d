"""Shards of a sweep as Slurm jobs, through submitit; `cluster=local` runs the same path as processes of this machine.

Before its minutes are over, or when it is preempted, a job gets a signal: the bank stands still between two steps,
leaves a checkpoint, the job is queued again, and goes on with the same bits.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from icl.config import ConfigError
from icl.config.machines import Cluster, read
from icl.config.schema import plain
from icl.launch.shards import Outcome, Ticket, work
from icl.training.jobs import Job

SECONDS_BETWEEN_LOOKS = 60  # at the queue, at most: a sweep may have thousands of jobs


class Shard:
    """What one Slurm job runs; submitit calls `checkpoint` on it to queue it again."""

    def __init__(self, pipeline: str, tickets: Sequence[Ticket]):
        self.pipeline, self.tickets = pipeline, list(tickets)

    def __call__(self) -> dict[str, Outcome]:
        import os

        if int(os.environ.get("SLURM_NODEID", 0)) > 0:
            return self._help()
        return work(self.pipeline, self.tickets)

    def _help(self) -> dict[str, Outcome]:
        """A further node of one large model brings its ranks; the first one has the folders."""
        from icl.training.bank_folders import bank_folder
        from icl.training.jobs import unfinished
        from icl.training.large_jobs import join

        for job in unfinished([ticket.job() for ticket in self.tickets]):
            join(job, bank_folder(Path(job.cfg.paths.outputs), [job.key]))
        return {}

    def checkpoint(self) -> Any:
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def over_cluster(pipeline: str, shards: Sequence[list[Job]], folder: Path, *, dry: bool) -> dict[str, Outcome]:
    """Submit every shard as one job, and wait; with `dry` print the script and end with exit code 0.

    Raises:
        ConfigError: submitit is not installed, there is no Slurm here, or the jobs ask for different clusters.
    """
    try:
        import submitit
        from submitit.core.utils import FailedJobError
    except ModuleNotFoundError:
        raise ConfigError("launcher=slurm needs the extra `slurm`: pip install 'icl-lab[slurm]'") from None
    wanted = {repr(plain(job.cfg.cluster)): job.cfg for shard in shards for job in shard}
    if len(wanted) != 1:
        raise ConfigError("cluster: the jobs of one sweep must ask for the same; start one sweep a cluster")
    cfg = next(iter(wanted.values()))
    cluster = read(Cluster, "cluster", plain(cfg.cluster))
    if dry:
        print(script(cluster, cfg.name, folder, len(shards)), end="")
        raise SystemExit(0)
    calls = [Shard(pipeline, [Ticket.of(job) for job in shard]) for shard in shards]
    try:
        executor = _executor(submitit, cluster, cfg.name, folder)
        submitted = _submit(executor, calls, cluster)
    except (RuntimeError, OSError, FailedJobError) as error:
        raise ConfigError(f"cluster.executor={cluster.executor}: {str(error).splitlines()[0]}") from None
    found: dict[str, Outcome] = {}
    for running, shard in zip(submitted, shards, strict=True):
        found |= _received(running, shard)
    return found


def parameters(cluster: Cluster, name: str) -> dict[str, Any]:
    """The lines of the sbatch script, in submitit's names."""
    asked = {
        "job_name": f"lab-{name}", "partition": cluster.partition, "account": cluster.account, "qos": cluster.qos,
        "constraint": cluster.constraint, "time": cluster.minutes, "nodes": cluster.nodes, "ntasks_per_node": 1,
        "gpus_per_node": cluster.gpus or None, "cpus_per_task": cluster.cpus, "mem": f"{cluster.memory_gb}GB",
        "array_parallelism": cluster.at_once, "signal_delay_s": cluster.warning_seconds, "stderr_to_stdout": True,
        "additional_parameters": dict(cluster.sbatch) or None,
    }  # fmt: skip
    return {key: value for key, value in asked.items() if value is not None}


def script(cluster: Cluster, name: str, folder: Path, n_shards: int) -> str:
    """The sbatch script of an array of `n_shards` jobs."""
    import shlex
    import sys

    from submitit.slurm.slurm import _make_sbatch_string

    command = f"{shlex.quote(sys.executable)} -u -m submitit.core._submit {shlex.quote(str(folder.absolute()))}"
    asked: dict[str, Any] = parameters(cluster, name) | ({"map_count": n_shards} if n_shards > 1 else {})
    return _make_sbatch_string(command=command, folder=folder.absolute(), **asked)


def _executor(submitit: Any, cluster: Cluster, name: str, folder: Path) -> Any:
    if cluster.executor == "local":
        executor = submitit.LocalExecutor(folder.absolute(), max_num_timeout=cluster.timeouts)
        executor.update_parameters(
            timeout_min=cluster.minutes, gpus_per_node=cluster.gpus, signal_delay_s=cluster.warning_seconds,
            stderr_to_stdout=True,
        )  # fmt: skip
        return executor
    from icl.launch.slurm_queue import Queue

    executor = submitit.SlurmExecutor(folder.absolute(), max_num_timeout=cluster.timeouts)
    executor.job_class.watcher = Queue(delay_s=SECONDS_BETWEEN_LOOKS)
    executor.update_parameters(**parameters(cluster, name))
    return executor


def _submit(executor: Any, calls: Sequence[Shard], cluster: Cluster) -> list[Any]:
    """One job array; on this machine, no more than `at_once` at a time."""
    if cluster.executor == "slurm":
        with executor.batch():
            jobs = [executor.submit(call) for call in calls]
        print(f"sweep: {len(jobs)} Slurm jobs, {jobs[0].job_id} and on; output in {executor.folder}", flush=True)
        print("sweep: this process waits for them; if it ends they go on, and the same command finds them", flush=True)
        return jobs
    jobs = []
    for call in calls:
        if len(jobs) >= cluster.at_once:
            jobs[len(jobs) - cluster.at_once].wait()
        jobs.append(executor.submit(call))
    return jobs


def _received(running: Any, shard: Sequence[Job]) -> dict[str, Outcome]:
    """What the job returned, or the last line of how it failed."""
    from submitit.core.utils import FailedJobError, UncompletedJobError

    try:
        found = running.results()[0]
    except (UncompletedJobError, FailedJobError) as error:
        lines = [line for line in str(error).splitlines() if line.strip(" -")]
        last = lines[-1].strip() if lines else type(error).__name__
        found, lost = {}, f"{running.state}: {last}"
    else:
        lost = "the job returned without it"
    failed = Outcome(error=f"Slurm job {running.job_id}: {lost}; the same command resumes")
    return {job.key: found.get(job.key, failed) for job in shard}
