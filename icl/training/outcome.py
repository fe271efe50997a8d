"""What a job's folder gets when its bank is done: the members' rows of everything that was trained."""

import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from icl.config.schema import plain
from icl.objectives.units import PER_MSE
from icl.rng import Draw
from icl.runs import RunFolder
from icl.training.bank import Bank
from icl.training.history import History

EVALUATION_PROMPTS, EVALUATION_BATCHES = 8192, 32  # at most; small batches are for large models, or for a quick look
LIBRARIES = ("icl-lab", "torch", "numpy", "hydra-core", "transformers", "accelerate")


@dataclass(frozen=True)
class Slice:
    """The members start..stop-1 of a bank: one job."""

    start: int
    stop: int
    seeds: Sequence[int]
    history: History
    final_loss: Sequence[float]  # of the whole bank

    def of(self, tensor: Any) -> Any:
        return tensor[self.start : self.stop]


def write_outcome(cfg: Any, folder: RunFolder, bank: Bank, part: Slice) -> None:
    """Weights, snapshots, metrics and result of one job; `done.json` last."""
    history = part.history
    folder.write_tensors("weights", {k: part.of(v) for k, v in bank.model.state_dict().items()})
    snapshots = {
        f"{step:08d}/{name}": part.of(value)
        for step, state in sorted(history.snapshots.items())
        for name, value in state.items()
    }
    if snapshots:
        folder.write_tensors("snapshots", snapshots)
    losses = torch.stack(history.loss).cpu().tolist() if history.loss else []
    folder.write_metrics(
        [{"step": step, "loss": part.of(row)} for step, row in zip(history.steps, losses, strict=True)]
    )
    folder.write_record("result", result(cfg, folder, bank, part))
    folder.finish()


def result(cfg: Any, folder: RunFolder, bank: Bank, part: Slice) -> dict[str, Any]:
    final = part.of(part.final_loss)
    unit = getattr(bank.objective, "unit", "loss")
    known = getattr(bank.task, "known_half_mse", dict)() if unit in PER_MSE else {}
    return {
        "name": cfg.name,
        "id": folder.id,
        "question": cfg.question,
        "seeds": list(part.seeds),
        "loss_name": unit,
        "final_loss": final,
        "diverged": [seed for seed, loss in zip(part.seeds, final, strict=True) if not math.isfinite(loss)],
        "theory": {name: 2 * value * PER_MSE[unit] for name, value in known.items()},
        "objective": plain(cfg.objective).get("_target_", ""),
        "stream": cfg.train.stream,
        "steps": cfg.train.steps,
        "bank_members": len(bank.seeds),
        "device": str(bank.device),
        "dtype": cfg.dtype,
        "wall_seconds": round(part.history.seconds, 3),
        "cpu_seconds": round(part.history.cpu_seconds, 3),
        "versions": versions(),
        "git_commit": git_commit(),
    }


def final_loss(bank: Bank) -> list[float]:
    """The objective of every member on the same fresh prompts (exact if the objective is).

    Where the task's law is a matter of the seed (`own_law`), each member has prompts of its own.
    """
    own = getattr(bank.task, "own_law", False) and bank.train.stream == "own"
    seeds = list(bank.seeds) if own else [bank.train.data_seed]
    draw = Draw(seeds, "final", device=bank.device, dtype=bank.dtype)
    n_prompts = min(EVALUATION_PROMPTS, EVALUATION_BATCHES * bank.train.batch_size)
    sample = bank.task.sample(n_prompts, draw) if bank.objective.needs_sample else None
    with torch.no_grad():
        loss = bank.objective(bank.model, sample)
    return loss.expand(len(bank.seeds)).tolist()


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    found = {"python": sys.version.split()[0]}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


@lru_cache(maxsize=1)
def git_commit() -> str | None:
    """The commit of the code that ran, if it ran from a checkout."""
    from icl.config import conf_dir

    try:
        found = subprocess.run(
            ["git", "rev-parse", "--verify", "--quiet", "HEAD"],
            cwd=conf_dir(),
            capture_output=True,
            text=True,
            check=False,
            timeout=5,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None
