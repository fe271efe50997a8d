"""From jobs (a configuration and its folder) to finished run folders: one function for lone runs and for sweeps.

Jobs that agree in everything but seed, lr, weight decay and clip become one bank, train together, and are cut up again.
A bank's checkpoint records its members, so an interrupted bank is formed again with exactly those.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icl.atomic import write_json
from icl.config import ConfigError, Train, build, build_model, identity
from icl.config.build import on_this_machine
from icl.config.identity import BOOKKEEPING, PER_MEMBER, trained
from icl.config.kinds import reads_words
from icl.config.recipe import LONE_OPTIMIZERS
from icl.config.schema import plain
from icl.config.start import start_config
from icl.config.yaml_text import as_yaml
from icl.rng import Draw
from icl.runs import RunFolder, digest
from icl.training.bank import Bank, Stopped
from icl.training.bank_folders import MEMBERS, RECORDS, bank_folder, clear, members_of, remove
from icl.training.curricula import Curriculum
from icl.training.history import History
from icl.training.large_jobs import is_large, train_large
from icl.training.locks import Locks
from icl.training.outcome import Slice, final_loss, write_outcome
from icl.training.starts import of_bank

_FITTING: set[str] = set()  # signatures that `check_fit` has passed in this process


@dataclass(frozen=True)
class Job:
    """One configuration to train, and the folder that will hold it."""

    cfg: Any
    folder: RunFolder
    overrides: Sequence[str] = ()

    @property
    def key(self) -> str:
        """`<name>/<id>`: what the folder is called below `outputs`."""
        return f"{self.cfg.name}/{self.folder.id}"

    @property
    def seeds(self) -> list[int]:
        return list(range(self.cfg.seed, self.cfg.seed + self.cfg.n_seeds))

    @property
    def signature(self) -> str:
        """Jobs with the same one may share a bank."""
        lone = is_large(self.cfg) or self.cfg.train.optimizer in LONE_OPTIMIZERS
        alone = {"alone": self.key} if lone else {}
        return digest(trained(self.cfg, BOOKKEEPING + PER_MEMBER) | {"device": self.cfg.device} | alone)


def make_job(cfg: Any, overrides: Sequence[str] = ()) -> Job:
    """The job of a validated configuration; its folder is where every command with the same training finds it.

    Raises:
        ConfigError: task, model, objective and curriculum do not fit together.
    """
    what = digest(trained(cfg, BOOKKEEPING + PER_MEMBER))
    if what not in _FITTING and not reads_words(cfg):  # the jobs of a sweep share most of it
        check_fit(on_this_machine(cfg))
        _FITTING.add(what)
    return Job(cfg, RunFolder(Path(cfg.paths.outputs) / cfg.name / identity(cfg)), tuple(overrides))


def check_trainable(cfg: Any) -> None:
    """Raises ConfigError for a study of a language model."""
    if reads_words(cfg):
        raise ConfigError("a language model is not trained here; ask it with scripts/lab probe, or reproduce")


def check_fit(cfg: Any) -> None:
    """Ask one member for the loss on two prompts, and every stage of the curriculum for its task."""
    task = build(cfg.task, plugins=cfg.plugins, key="task")
    objective = build(cfg.objective, plugins=cfg.plugins, key="objective")
    model = build_model(cfg, n_seeds=1)
    first = next(model.parameters())
    try:
        Curriculum(Train(**plain(cfg.train)), task=task, objective=objective)
        draw = Draw([0], "fits", device=first.device, dtype=first.dtype)
        objective(model, task.sample(2, draw) if objective.needs_sample else None)
    except (ValueError, RuntimeError) as error:
        raise ConfigError(f"task, model and objective do not fit: {str(error).splitlines()[0]}") from None


def train(jobs: Sequence[Job], on_log: Callable[[History], None] | None = None) -> dict[str, str]:
    """Train what is not finished; `on_log` is shown the history of a lone job's bank whenever it is saved.

    Returns <name>/<id> -> what went wrong, for the jobs that failed; the others are done.
    """
    unique = list({job.folder.path: job for job in jobs}.values())
    failures = _train_starts(unfinished(unique))
    unique = [job for job in unique if job.key not in failures]
    with _locked(unfinished(unique)):
        failures |= _train(unfinished(unique), unique, on_log if len(jobs) == 1 else None)
    for outputs in {Path(job.cfg.paths.outputs) for job in unique}:
        clear(outputs)
    return failures


def _train_starts(jobs: Sequence[Job]) -> dict[str, str]:
    """Train what `jobs` go on from, where a configuration states it; what went wrong, by job."""
    before = {job.key: make_job(cfg) for job in jobs if (cfg := start_config(job.cfg)) is not None}
    failures = train(list(before.values())) if before else {}
    return {key: f"its start: {failures[job.key]}" for key, job in before.items() if job.key in failures}


def unfinished(jobs: Sequence[Job]) -> list[Job]:
    """What is left to do of `jobs`."""
    return [job for job in jobs if not (job.cfg.resume and job.folder.finished)]


@contextmanager
def _locked(jobs: Sequence[Job]) -> Iterator[None]:
    """No other process trains one of `jobs` within."""
    with ExitStack() as locks:
        for outputs in dict.fromkeys(job.cfg.paths.outputs for job in jobs):
            keys = [job.key for job in jobs if job.cfg.paths.outputs == outputs]
            try:
                locks.enter_context(Locks(Path(outputs), keys))
            except OSError as error:
                raise ConfigError(f"paths.outputs={outputs}: cannot write there ({error.strerror})") from None
        yield


def _train(todo: Sequence[Job], known: Sequence[Job], on_log: Callable[[History], None] | None) -> dict[str, str]:
    for job in todo:
        _open(job)
    failures: dict[str, str] = {}
    for members in form_banks(todo, known):
        try:
            _train_bank(members, on_log)
        except Stopped as stop:
            failures |= {job.key: f"{stop}; the same command resumes" for job in members}
        except OSError as error:
            line = f"{error.filename}: {error.strerror}; what was saved before is kept, and the same command resumes"
            failures |= {job.key: line for job in members}
        except (RuntimeError, ValueError) as error:
            failures |= {job.key: f"{type(error).__name__}: {error}" for job in members}
            if len(known) == 1:
                raise
    return failures


def _open(job: Job) -> None:
    try:
        job.folder.open(as_yaml(job.cfg), job.overrides)
        if not job.cfg.resume:
            (job.folder.path / "done.json").unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"paths.outputs={job.cfg.paths.outputs}: cannot write there ({error.strerror})") from None


def form_banks(todo: Sequence[Job], known: Sequence[Job]) -> list[list[Job]]:
    """Interrupted banks first, with exactly their members (also those finished meanwhile); then one a signature."""
    by_id = {job.key: job for job in known}
    left = {job.key: job for job in todo}
    banks = []
    for outputs in {Path(job.cfg.paths.outputs) for job in todo if job.cfg.resume}:
        for record in sorted(outputs.glob(RECORDS)):
            ids = members_of(record)
            if ids and set(ids) <= set(by_id) and set(ids) & set(left):
                banks.append([by_id[i] for i in ids])
                left = {i: job for i, job in left.items() if i not in ids}
    groups: dict[str, list[Job]] = {}
    for job in left.values():
        groups.setdefault(job.signature, []).append(job)
    return banks + list(groups.values())


def _train_bank(members: Sequence[Job], on_log: Callable[[History], None] | None) -> None:
    first, keys = members[0].cfg, [job.key for job in members]
    folder = bank_folder(Path(first.paths.outputs), keys)
    if not first.resume:
        remove(folder)
    if is_large(first):
        return train_large(members[0], folder, on_log)
    seeds = [seed for job in members for seed in job.seeds]

    def each(name: str) -> list[Any]:
        return [job.cfg.train[name] for job in members for _ in job.seeds]

    bank = Bank(
        task=build(first.task, plugins=first.plugins, key="task"), model=build_model(first, n_seeds=len(seeds)),
        objective=build(first.objective, plugins=first.plugins, key="objective"),
        train=Train(**plain(first.train)), seeds=seeds, lr=each("lr"), weight_decay=each("weight_decay"),
        clip=each("clip"), folder=folder, label=first.name, progress=first.progress, on_log=on_log,
        first=of_bank([job.cfg for job in members]),
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / MEMBERS, keys)
    history = bank.run()
    final, start = final_loss(bank), 0
    for job in members:
        stop = start + len(job.seeds)
        if not job.folder.finished:
            write_outcome(job.cfg, job.folder, bank, Slice(start, stop, job.seeds, history, final))
        start = stop
    remove(folder)
