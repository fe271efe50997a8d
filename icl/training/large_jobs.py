"""A job of large models: its members one after the other, each over all ranks; then one folder with the axis M."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor

from icl.atomic import write_json
from icl.config import Train, build, build_model
from icl.config.build import resolve_device
from icl.config.machines import Accelerate, read
from icl.config.schema import plain
from icl.config.yaml_text import as_yaml
from icl.training.accelerated import Large
from icl.training.bank import Bank, Stopped
from icl.training.bank_folders import MEMBERS, remove
from icl.training.elastic import RanksFailed, over_ranks
from icl.training.history import History
from icl.training.outcome import Slice, final_loss, write_outcome
from icl.training.starts import first_weights


def is_large(cfg: Any) -> bool:
    """Whether `cfg` asks for the trainer of one large model."""
    return cfg.get("accelerate") is not None or cfg.get("devices", 1) > 1


def train_large(job: Any, folder: Path, on_log: Callable[[History], None] | None = None) -> None:
    """Train every member of a `Job`, and write its folder; an interrupted one goes on with the member it was at.

    Raises:
        Stopped: `train.max_seconds` is over, or a rank died.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / MEMBERS, [job.key])
    options = read(Accelerate, "accelerate", plain(job.cfg.accelerate))
    if job.cfg.devices * options.nodes == 1:
        train_members(as_yaml(job.cfg), str(folder), str(job.folder.path), on_log)
    else:
        try:
            stopped = join(job, folder)
        except RanksFailed as failure:
            raise Stopped(str(failure)) from None
        if stopped is not None:
            raise Stopped(stopped)
    remove(folder)


def join(job: Any, folder: Path) -> str | None:
    """This machine's ranks of the job; what was said if the budget ran out."""
    options = read(Accelerate, "accelerate", plain(job.cfg.accelerate))
    arguments = (as_yaml(job.cfg), str(folder), str(job.folder.path))
    return over_ranks(
        rank, *arguments, devices=job.cfg.devices, nodes=options.nodes, device=resolve_device(job.cfg.device)
    )


def rank(config: str, folder: str, target: str) -> str | None:
    """What one rank does."""
    try:
        train_members(config, folder, target)
    except Stopped as stop:
        return str(stop)
    return None


def train_members(config: str, folder: str, target: str, on_log: Callable[[History], None] | None = None) -> None:
    """On every rank: member after member, then rank 0 writes the run folder `target`."""
    from icl.runs import RunFolder

    cfg: Any = OmegaConf.create(config)
    seeds = list(range(cfg.seed, cfg.seed + cfg.n_seeds))
    task = build(cfg.task, plugins=cfg.plugins, key="task")
    objective = build(cfg.objective, plugins=cfg.plugins, key="objective")
    weights, histories, first = [], [], True
    starts = first_weights(cfg)
    for i, seed in enumerate(seeds):
        own = None if starts is None else {key: value[i : i + 1] for key, value in starts.items()}
        told = on_log if len(seeds) == 1 else None
        state, history, first = _member(cfg, seed, Path(folder, f"seed-{seed}"), own, told, task, objective)
        weights.append(state)
        histories.append(history)
    starts = own = None
    if first:
        _write(cfg, RunFolder(Path(target)), joined(weights), stacked(histories), seeds, task=task, objective=objective)


def _member(
    cfg: Any, seed: int, folder: Path, first: dict[str, Tensor] | None, on_log: Any, task: Any, objective: Any
) -> tuple[dict[str, Tensor], History, bool]:
    """Train one; its model, gradients and moments are gone before the next, or the folder, takes memory."""
    large = Large(
        task=task, model=build_model(cfg, n_seeds=1), objective=objective, train=Train(**plain(cfg.train)), seed=seed,
        options=read(Accelerate, "accelerate", plain(cfg.accelerate)), folder=folder, label=f"{cfg.name} seed {seed}",
        progress=cfg.progress, on_log=on_log, first=first,
    )  # fmt: skip
    history = large.run()
    return large.weights(), history, large.rank == 0


def joined(weights: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Single members as a bank's state; each tensor of theirs goes as it is joined, so nothing is held twice."""
    if len(weights) == 1:
        return weights.pop()
    return {key: torch.cat([one.pop(key) for one in weights]) for key in list(weights[0])}


def _write(cfg: Any, folder: Any, state: Any, history: History, seeds: list[int], *, task: Any, objective: Any) -> None:
    """The folder that a bank of these members would leave; sharded models are put together on the CPU."""
    sharded = read(Accelerate, "accelerate", plain(cfg.accelerate)).sharding != "none"
    where = OmegaConf.merge(cfg, {"device": "cpu"}) if sharded else cfg
    model = build_model(where, n_seeds=len(seeds))
    model.load_state_dict(state)
    state.clear()
    train = replace(Train(**plain(cfg.train)), optimizer="sgd", momentum=0.0)  # no moments: nothing is trained here
    bank = Bank(task=task, model=model, objective=objective, train=train, seeds=seeds)
    write_outcome(cfg, folder, bank, Slice(0, len(seeds), seeds, history, final_loss(bank)))


def stacked(histories: Sequence[History]) -> History:
    """Histories of single members as that of a bank."""
    first = histories[0]
    snapshots = {
        step: {key: torch.cat([h.snapshots[step][key] for h in histories]) for key in state}
        for step, state in first.snapshots.items()
    }
    loss = [torch.cat(rows) for rows in zip(*(h.loss for h in histories), strict=True)]
    seconds, cpu_seconds = (sum(getattr(h, name) for h in histories) for name in ("seconds", "cpu_seconds"))
    return History(first.steps, loss, snapshots, seconds, cpu_seconds)
