"""One whole training step as a CUDA graph: prompts, loss, gradients and update in a single launch.

Small models on a GPU wait for launches, about 5 µs for each of their hundred operations; a graph has one. Nothing in it
is read by the host: rates come from a table on the device, and the generators are seeded before every replay as an
ordinary step seeds them, so the random numbers are the same.

References: PyTorch, CUDA graphs; `torch.cuda.CUDAGraph.register_generator_state`
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from icl.rng import stream_seed
from icl.training.optimizers import project

WARM_UP = 3  # steps before a capture: libraries choose their algorithms and allocate


class GraphedStep:
    """The steps of a `Bank`; a new stage of its curriculum has its own graph."""

    def __init__(self, bank: Any):
        self.bank = bank
        self.generators = [torch.Generator(device=bank.device) for _ in bank.draw.seeds]
        self.stage: tuple[Any, Any] | None = None
        self.graph: Any = None
        self.loss: Tensor | None = None

    def __call__(self, step: int) -> Tensor:
        """The member losses before update number `step`; overwritten by the next one."""
        stage = self.bank.curriculum.at(step)
        if self.stage is None or any(a is not b for a, b in zip(stage, self.stage)):
            self._capture(stage, step)
        self._seed(step)
        self.graph.replay()
        self.bank.optimizer.n_updates += 1
        assert self.loss is not None
        return self.loss

    def _seed(self, step: int) -> None:
        draw = self.bank.draw
        for seed, generator in zip(draw.seeds, self.generators, strict=True):
            generator.manual_seed(stream_seed(seed, draw.name, self.bank.train.data_step(step), draw.rank))

    def _once(self, stage: tuple[Any, Any], step: int) -> Tensor:
        task, objective = stage
        draw = replace(self.bank.draw, step=self.bank.train.data_step(step), _generators=self.generators)
        sample = None
        if objective.needs_sample:  # a training set is drawn while warming up, and stays
            batches = self.bank.batches
            sample = batches(task, step) if batches.fixed else task.sample(self.bank.train.batch_size, draw)
        loss = objective(self.bank.model, sample)
        self.bank.optimizer.step_on_device(torch.autograd.grad(loss.sum(), self.bank.parameters))
        project(self.bank.model)
        return loss.detach()

    def _capture(self, stage: tuple[Any, Any], step: int) -> None:
        """Warm up and record; what the warming up did to weights and moments is taken back."""
        optimizer = self.bank.optimizer
        optimizer.to_device()
        state = [*self.bank.parameters, *optimizer.moments, optimizer.count]
        kept = [tensor.detach().clone() for tensor in state]
        self._seed(step)
        side = torch.cuda.Stream(self.bank.device)
        side.wait_stream(torch.cuda.current_stream(self.bank.device))
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                self._once(stage, step)
                self._restore(state, kept)
        torch.cuda.current_stream(self.bank.device).wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        for generator in self.generators:
            self.graph.register_generator_state(generator)
        with torch.cuda.graph(self.graph):
            self.loss = self._once(stage, step)
        self._restore(state, kept)
        self.stage = stage

    @torch.no_grad()
    def _restore(self, state: list[Tensor], kept: list[Tensor]) -> None:
        for tensor, value in zip(state, kept, strict=True):
            tensor.copy_(value)
