"""A sweep cut into shards, and what one worker does with one: train it as banks, then run the pipeline on each job."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from icl.training.bank_folders import bank_folder
from icl.training.jobs import Job, form_banks, train, unfinished


@dataclass(frozen=True, kw_only=True)
class Ticket:
    """A job as plain text, for another process."""

    config: str
    folder: str
    overrides: tuple[str, ...]

    @classmethod
    def of(cls, job: Job) -> "Ticket":
        from icl.config.yaml_text import as_yaml

        return cls(config=as_yaml(job.cfg), folder=str(job.folder.path.absolute()), overrides=tuple(job.overrides))

    def job(self) -> Job:
        from omegaconf import OmegaConf

        from icl.runs import RunFolder

        return Job(OmegaConf.create(self.config), RunFolder(Path(self.folder)), self.overrides)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a job: the pipeline's numbers, or what went wrong."""

    numbers: dict[str, float] | None = None
    error: str = ""


def cut(jobs: Sequence[Job], largest: int) -> list[list[Job]]:
    """Pieces of at most `largest` members that can train together; a piece has one job at least.

    A bank that was interrupted stays whole, so that its checkpoint is used. Finished jobs are pieces of their own kind.
    """
    unique = list({job.key: job for job in jobs}.values())
    pieces: list[list[Job]] = []
    for bank in form_banks(unfinished(unique), unique):
        whole = bank_folder(Path(bank[0].cfg.paths.outputs), [job.key for job in bank]).exists()
        pieces += [bank] if whole else _runs_of(bank, largest)
    taken = {job.key for piece in pieces for job in piece}
    return pieces + _runs_of([job for job in unique if job.key not in taken], largest)


def _runs_of(jobs: Sequence[Job], largest: int) -> list[list[Job]]:
    pieces: list[list[Job]] = []
    size = largest
    for job in jobs:
        if size + len(job.seeds) > largest:
            pieces.append([])
            size = 0
        pieces[-1].append(job)
        size += len(job.seeds)
    return pieces


def pack(pieces: Sequence[list[Job]], n: int) -> list[list[Job]]:
    """At most n shards of about the same number of members: the largest piece first, to the shard with the fewest."""

    def members(jobs: Sequence[Job]) -> int:
        return sum(len(job.seeds) for job in jobs)

    shards: list[list[Job]] = [[] for _ in range(min(n, len(pieces)))]
    for piece in sorted(pieces, key=members, reverse=True):
        min(shards, key=members).extend(piece)
    return shards


def work(pipeline: str, tickets: Sequence[Ticket]) -> dict[str, Outcome]:
    """Train the shard and run the pipeline on each of its jobs; a job that fails does not stop the others."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    from icl.config import ConfigError, JobFailed
    from icl.config.app import pipeline_of, register_schema
    from icl.runs import RunError

    register_schema()
    jobs = [ticket.job() for ticket in tickets]
    try:
        failures = train(jobs)
    except (RuntimeError, ValueError) as error:  # a lone job raises
        failures = {job.key: f"{type(error).__name__}: {error}" for job in unfinished(jobs)}
    found: dict[str, Outcome] = {}
    for job in jobs:
        typed = {"hydra": {"overrides": {"task": list(job.overrides)}}}
        HydraConfig.instance().cfg = OmegaConf.create(typed)  # pyright: ignore[reportAttributeAccessIssue]
        try:
            if job.key in failures:
                raise JobFailed(failures[job.key])
            found[job.key] = Outcome(numbers=dict(pipeline_of(pipeline).run(job.cfg, in_sweep=True)))
        except (ConfigError, JobFailed, RunError) as error:
            found[job.key] = Outcome(error=str(error))
    return found
