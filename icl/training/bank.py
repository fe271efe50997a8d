"""Train M small models at once, each exactly as it would train alone.

    history = fit(task, model, Last(), Train(steps=3000), seeds=range(8))

A bank is one model whose parameters carry a leading axis M. The loss is a number a member, the trainer differentiates
their sum, and the update rule works row by row, so no member sees another; numbers agree with a lone run to rounding.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from icl.config import Train
from icl.config.interrupts import Held
from icl.rng import Draw
from icl.training.batches import Batches, training_draw
from icl.training.checkpoints import load_checkpoint, save_checkpoint
from icl.training.curricula import Curriculum
from icl.training.graphed import GraphedStep
from icl.training.history import History, snapshot_steps, within
from icl.training.member_parts import MemberParts
from icl.training.optimizers import BankOptimizer, project, schedule_factor
from icl.training.progress import Progress
from icl.training.starts import load_start

INIT, NOISE = "init", "gradient noise"  # names of random streams


class Stopped(RuntimeError):
    """The budget `train.max_seconds` is spent; the same command resumes."""


@dataclass(kw_only=True)
class Bank:
    """One bank in training: the model, its members' seeds and rates, and where its checkpoints go."""

    task: Any
    model: Any  # an nn.Module with `reset`
    objective: Any
    train: Train
    seeds: Sequence[int]
    lr: Sequence[float] | None = None
    weight_decay: Sequence[float] | None = None
    clip: Sequence[float | None] | None = None
    folder: Path | None = None
    label: str = "train"
    progress: bool = False
    on_log: Callable[[History], None] | None = None
    first: dict[str, Tensor] | None = None  # the first weights, where they are not drawn

    def __post_init__(self) -> None:
        if self.train.cuda_graph and getattr(self.task, "own_law", False):
            raise ValueError(f"{type(self.task).__name__} draws on the host, so train.cuda_graph must be false")
        first = next(self.model.parameters())
        self.device, self.dtype = first.device, first.dtype
        self.parameters = list(self.model.parameters())
        self.optimizer = BankOptimizer(
            self.parameters, self.train, lr=self.lr, weight_decay=self.weight_decay, clip=self.clip,
            noise=Draw(list(self.seeds), NOISE, device=self.device, dtype=self.dtype),
        )  # fmt: skip
        self.curriculum = Curriculum(self.train, task=self.task, objective=self.objective)
        self.draw = training_draw(self.train, self.seeds, device=self.device, dtype=self.dtype)
        self.batches = Batches(self.train, self.draw)
        self.snapshot_steps = snapshot_steps(self.train)
        self.history = History()
        self._members = MemberParts(self.model)
        self._graphed = GraphedStep(self) if self.train.cuda_graph else None

    def run(self) -> History:
        """Train to the end, from the newest checkpoint if there is one.

        Raises:
            Stopped: `train.max_seconds` is over. Then, and on a signal, a checkpoint of the last whole step is left.
        """
        start = self.start()
        bar = Progress(self.label, self.train.steps, start=start, shown=self.progress)
        self._clock = time.monotonic(), time.process_time()
        deadline = float("inf") if self.train.max_seconds is None else self._clock[0] + self.train.max_seconds
        try:
            with Held() as held, self._matmul():
                for step in range(start, self.train.steps):
                    if held.waiting or time.monotonic() >= deadline:
                        self._save(step)
                        held.deliver()
                    if time.monotonic() >= deadline:
                        raise Stopped(f"{self.label}: stopped at step {step} after train.max_seconds")
                    self._before(step)
                    bar.advance(self.step(step))
                self._before(self.train.steps, last=True)
        finally:
            bar.close()
        return self.history

    def step(self, step: int) -> Tensor:
        """Prompts, loss, gradient and update number `step`; returns the member losses before it."""
        loss = self._graphed(step) if self._graphed is not None else self._eager(step)
        if step % self.train.log_every == 0 or step == self.train.steps - 1:
            self.history.steps.append(step)
            self.history.loss.append(loss.detach().clone())
        return loss

    def _eager(self, step: int) -> Tensor:
        task, objective = self.curriculum.at(step)
        sample = self.batches(task, step) if objective.needs_sample else None
        loss, gradients = self._members.gradients(objective, sample)
        self.optimizer.step(gradients, schedule_factor(self.train, step))
        project(self.model)
        return loss

    def _before(self, step: int, *, last: bool = False) -> None:
        """Snapshots and checkpoints of the state after `step` updates."""
        if step in self.snapshot_steps:
            self.history.snapshots[step] = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        if last or (step and step % self.train.checkpoint_every == 0):
            self._save(step)
            if self.on_log is not None:
                self.on_log(self.history)

    def _matmul(self) -> Any:
        if self.train.matmul == "tf32":
            return tf32()
        if not self.train.fast_matmul:
            return nullcontext()
        from icl.models.matmul_route import fast_matmul

        return fast_matmul()

    # ---- resume
    def _save(self, step: int) -> None:
        begun, cpu_begun = self._clock
        self._clock = time.monotonic(), time.process_time()
        self.history.seconds += self._clock[0] - begun
        self.history.cpu_seconds += self._clock[1] - cpu_begun
        if self.folder is None:
            return
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()} | self.optimizer.state()
        about = {"step": step, "seeds": list(self.seeds)} | self.history.facts()
        save_checkpoint(self.folder, tensors | self.history.tensors(), about)

    def start(self) -> int:
        """Put the bank where its checkpoint left it, or draw its first values. Returns the step to go on from."""
        self.model.reset(Draw(list(self.seeds), INIT, device=self.device, dtype=self.dtype))
        if self.first is not None:
            load_start(self.model, self.first)
        found = None if self.folder is None else load_checkpoint(self.folder)
        if found is None:
            return 0
        tensors, about = found
        self.model.load_state_dict(within("model.", tensors))
        self.optimizer.load(tensors, n_updates=about["step"])
        self.history = History.of(tensors, about, self.device)
        return about["step"]


@contextmanager
def tf32() -> Iterator[None]:
    """CUDA products of fp32 numbers with 10 bits of mantissa instead of 23: faster, and only where it is asked for."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def fit(task: Any, model: Any, objective: Any, train: Train, *, seeds: Iterable[int] = (0,), **options: Any) -> History:
    """Train `model` (one member a seed) in place, without Hydra and without a folder; options as in `Bank`."""
    return Bank(task=task, model=model, objective=objective, train=train, seeds=list(seeds), **options).run()
