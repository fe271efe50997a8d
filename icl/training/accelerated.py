"""Train one large model over one or more ranks, through accelerate: mixed precision, accumulation, DDP and FSDP2.

    history = fit_large(task, model, Last(), Train(steps=3000), seed=0, options=Accelerate(mixed_precision="bf16"))

The interface is that of a bank with one member. An update sees `train.batch_size` prompts; each of W ranks draws
batch_size / W of them from its own stream, keyed by (seed, step, rank), so a resumed run is exact on the same ranks.
Checkpoints hold whole tensors (safetensors, no pickle), whatever the sharding.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from icl.config import Train
from icl.config.machines import Accelerate
from icl.core import Sample
from icl.rng import Draw
from icl.training.bank import INIT, Stopped
from icl.training.batches import DATA
from icl.training.checkpoints import load_checkpoint, save_checkpoint
from icl.training.curricula import Curriculum
from icl.training.history import History, snapshot_steps, within
from icl.training.optimizers import optimizer_of, project, schedule_factor
from icl.training.progress import Progress
from icl.training.sharded import accelerator_for, distribute, load_state, whole_state
from icl.training.starts import load_start


class Loss(nn.Module):
    """The objective as a forward pass, so that the hooks of DDP and FSDP see every use of the model."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, objective: Any, sample: Sample | None) -> Tensor:
        return objective(self.model, sample)


@dataclass(kw_only=True)
class Large:
    """One large model in training; `model` has one member. Every rank runs the same code, rank 0 writes."""

    task: Any
    model: Any
    objective: Any
    train: Train
    seed: int
    options: Accelerate = field(default_factory=Accelerate)
    folder: Path | None = None
    label: str = "train"
    progress: bool = False
    on_log: Callable[[History], None] | None = None
    first: dict[str, Tensor] | None = None  # the first weights, where they are not drawn

    def __post_init__(self) -> None:
        first = next(self.model.parameters())
        self.dtype = first.dtype
        self.accelerator = accelerator_for(first.device, self.options)
        self.rank, self.ranks = self.accelerator.process_index, self.accelerator.num_processes
        parts = self.ranks * self.options.accumulation
        if self.train.batch_size % parts:
            raise ValueError(
                f"train.batch_size={self.train.batch_size} must be a multiple of ranks x accumulation = {parts}"
            )
        self.model.reset(Draw([self.seed], INIT, device=first.device, dtype=self.dtype))
        if self.first is not None:
            load_start(self.model, self.first)
        self.loss = distribute(Loss(self.model), self.accelerator, self.options)
        self.optimizer = optimizer_of(self.loss, self.train, self.options)
        self.curriculum = Curriculum(self.train, task=self.task, objective=self.objective)
        stream = self.seed if self.train.stream == "own" else self.train.data_seed
        self.draw = Draw([stream], DATA, rank=self.rank, device=self.accelerator.device, dtype=self.dtype)
        self.snapshot_steps = snapshot_steps(self.train)
        self.history = History()

    def run(self) -> History:
        """Train to the end, from the newest checkpoint if there is one.

        Raises:
            Stopped: `train.max_seconds` is over on rank 0; a checkpoint is left.
        """
        start = step = self._resume()
        bar = Progress(self.label, self.train.steps, start=start, shown=self.progress and self.rank == 0)
        self._begun = self._clock = time.monotonic()
        try:
            for step in range(start, self.train.steps):
                if self._over(step):
                    raise Stopped(f"{self.label}: stopped at step {step} after train.max_seconds")
                self._before(step)
                bar.advance(self.step(step))
            step = self.train.steps
            self._before(step, last=True)
        except (KeyboardInterrupt, Stopped) as stop:
            if self.ranks == 1 or isinstance(stop, Stopped):  # a lone rank cannot gather what the others hold
                self._save(step)
            raise
        finally:
            bar.close()
        return self.history

    def step(self, step: int) -> Tensor:
        """Prompts, gradient in `accumulation` parts, clipping and update number `step`; the loss before it."""
        task, objective = self.curriculum.at(step)
        n_parts, n_prompts = self.options.accumulation, self.train.batch_size // self.ranks
        sample = task.sample(n_prompts, self.draw.at(self.train.data_step(step))) if objective.needs_sample else None
        total = torch.zeros(1, device=self.accelerator.device, dtype=self.dtype)
        for i, part in enumerate(parts(sample, n_parts)):
            with self._silent(i < n_parts - 1):
                with self.accelerator.autocast():
                    loss = self.loss(objective, part) / n_parts
                loss.sum().backward()
            total += loss.detach()
        if self.train.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.loss.parameters(), self.train.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = self.train.lr * schedule_factor(self.train, step)
        self.optimizer.step()
        project(self.model)
        self.optimizer.zero_grad()
        if step % self.train.log_every == 0 or step == self.train.steps - 1:
            total = self.accelerator.reduce(total, "mean")
            self.history.steps.append(step)
            self.history.loss.append(total)
        return total

    def _silent(self, wanted: bool) -> AbstractContextManager[Any]:
        """All parts but the last keep their gradients to themselves."""
        if hasattr(self.loss, "set_requires_gradient_sync"):  # FSDP2
            self.loss.set_requires_gradient_sync(not wanted)
        no_sync = getattr(self.loss, "no_sync", None)  # DDP
        return no_sync() if wanted and no_sync is not None else nullcontext()

    def _over(self, step: int) -> bool:
        """Whether rank 0's budget is spent; all ranks ask at the same steps, or they would wait for each other."""
        if self.train.max_seconds is None or step % self.train.log_every:
            return False
        mine = float(self.rank == 0 and time.monotonic() - self._begun >= self.train.max_seconds)
        return bool(self.accelerator.reduce(torch.tensor(mine, device=self.accelerator.device), "sum") > 0)

    def _before(self, step: int, *, last: bool = False) -> None:
        """Snapshots and checkpoints of the state after `step` updates."""
        if step in self.snapshot_steps:
            state, _ = whole_state(self.loss)
            self.history.snapshots[step] = within("model.", state)
        if last or (step and step % self.train.checkpoint_every == 0):
            self._save(step)
            if self.on_log is not None and self.rank == 0:
                self.on_log(self.history)

    # ---- resume
    def _save(self, step: int) -> None:
        now = time.monotonic()
        self.history.seconds, self._clock = self.history.seconds + now - self._clock, now
        if self.folder is None:
            return
        tensors, numbers = whole_state(self.loss, self.optimizer)
        if self.rank == 0:
            about = {"step": step, "seeds": [self.seed], "ranks": self.ranks, "numbers": numbers}
            save_checkpoint(self.folder, tensors | self.history.tensors(), about | self.history.facts())
        self.accelerator.wait_for_everyone()

    def _resume(self) -> int:
        found = None if self.folder is None else load_checkpoint(self.folder)
        if found is None:
            return 0
        tensors, about = found
        load_state(self.loss, self.optimizer, tensors, about["numbers"])
        self.history = History.of(tensors, about, self.accelerator.device)
        return about["step"]

    def weights(self) -> dict[str, Tensor]:
        """The whole state of the model, on rank 0 (empty on the others); every rank must call it."""
        return within("model.", whole_state(self.loss)[0])


def parts(sample: Sample | None, n: int) -> list[Sample | None]:
    """The sample's prompts in n equal parts."""
    if sample is None or n == 1:
        return [sample]
    size = sample.target.shape[1] // n
    cuts = [(i * size, (i + 1) * size) for i in range(n)]
    w = sample.w_star
    return [Sample(sample.prompt.chunk(a, b), sample.target[:, a:b], None if w is None else w[:, a:b]) for a, b in cuts]


def fit_large(task: Any, model: Any, objective: Any, train: Train, *, seed: int = 0, **options: Any) -> History:
    """Train `model` (one member) in place on this process's rank, without Hydra; options as in `Large`."""
    return Large(task=task, model=model, objective=objective, train=train, seed=seed, **options).run()
