"""A step on a device reads nothing of the host: the twin, without a GPU, of what a captured graph demands.

Models and prompts live on torch's `meta` device, which has shapes and no numbers; every operation that also takes a
tensor of the CPU, or copies one over, or asks for a number, is an error.
"""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from icl.config import Train
from icl.models.disentangled_transformer import DisentangledTransformer
from icl.models.linear_attention import LinearAttention
from icl.models.looped_transformer import LoopedTransformer
from icl.models.preconditioned_attention import PreconditionedAttention
from icl.models.softmax_attention import SoftmaxAttention
from icl.models.transformer import Transformer
from icl.objectives.cross_entropy import CrossEntropy
from icl.objectives.every_position import EveryPosition
from icl.objectives.last import Last
from icl.objectives.population import Population
from icl.objectives.residual import Residual
from icl.objectives.window import Window
from icl.rng import Draw
from icl.tasks.causal_graph import CausalGraph
from icl.tasks.linear_regression import LinearRegression
from icl.tasks.sine_regression import SineRegression
from icl.tasks.zipf_classes import ZipfClasses
from icl.training.bank import Bank

TASK = LinearRegression(dim=3, n_context=6)
EVERY = replace(TASK, positions="every")
SKEWED = replace(TASK, covariance_spectrum=[0.5, 1.0, 2.0], rotation_seed=0, w_covariance="inverse_covariance")
SPARSE = replace(TASK, n_nonzero=2)
GAMMA = replace(TASK, inputs="gamma")
KIND: dict[str, Any] = {"n_seeds": 3, "device": "meta"}
SMALL: dict[str, Any] = {"dim": 3, "n_context": 6, "width": 8, "n_heads": 2, **KIND}
RECIPE = Train(batch_size=4, clip=0.1, steps=10, n_snapshots=0)


class OneDevice(TorchDispatchMode):
    """Raises at operations with tensors of the CPU."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for tensor in tree_leaves((args, kwargs, found)):
            if isinstance(tensor, Tensor) and tensor.device.type == "cpu":
                raise AssertionError(f"{func} takes or makes a tensor of the host")
        return found


@pytest.fixture
def drawn_nowhere(monkeypatch):
    """Random numbers without a generator, which `meta` has not."""

    def fill(self, fill, shape, dtype=None):
        return torch.empty(len(self.seeds), *shape, device="meta", dtype=dtype or self.dtype)

    monkeypatch.setattr(Draw, "_fill", fill)


CASES = {
    "one layer": (lambda: LinearAttention(dim=3, **KIND), TASK, Last()),
    "merged": (lambda: LinearAttention(dim=3, n_layers=2, parametrization="merged", **KIND), SKEWED, Last()),
    "four layers": (lambda: LinearAttention(dim=3, n_layers=4, **KIND), SPARSE, Last()),
    "gamma inputs": (lambda: LinearAttention(dim=3, **KIND), GAMMA, Last()),
    "population": (lambda: LinearAttention(dim=3, **KIND), TASK, Population(task=TASK)),
    "general population": (lambda: LinearAttention(dim=3, **KIND), SKEWED, Population(task=SKEWED)),
    "preconditioned": (lambda: PreconditionedAttention(dim=3, n_layers=2, **KIND), TASK, Residual(task=TASK)),
    "softmax": (lambda: SoftmaxAttention(dim=3, n_heads=2, **KIND), TASK, Last()),
    "transformer": (lambda: Transformer(n_layers=2, **SMALL), EVERY, EveryPosition()),
    "looped": (lambda: LoopedTransformer(n_loops=4, **SMALL), EVERY, Window(n_loops=4, window=2)),
    "sine": (lambda: LinearAttention(dim=1, **KIND), SineRegression(n_context=6), Last()),
    "classes": (None, ZipfClasses(dim=5), None),
    "graph": (
        lambda: DisentangledTransformer(dim=4, n_context=5, **KIND),
        CausalGraph(dim=4, n_context=5),
        CrossEntropy(),
    ),
}


@pytest.mark.parametrize("members_alone", [False, True])
@pytest.mark.parametrize("name", list(CASES))
def test_a_step_reads_nothing_of_the_host(name, members_alone, drawn_nowhere):
    make, task, objective = CASES[name]
    if make is None:
        task.sample(4, Draw([0, 1], "warm", device="meta"))
        with OneDevice():
            task.sample(4, Draw([0, 1], "x", device="meta"))
        return
    model = make()
    bank = Bank(task=task, model=model, objective=objective, train=RECIPE, seeds=range(3))
    bank.optimizer.to_device()

    def step() -> None:
        sample = task.sample(4, bank.draw.at(0)) if objective.needs_sample else None
        if members_alone:
            loss, gradients = bank._members.gradients(objective, sample)
        else:
            loss = objective(model, sample)
            gradients = torch.autograd.grad(loss.sum(), bank.parameters)
        bank.optimizer.step_on_device(gradients)

    step()  # constants of the task get their copy
    with OneDevice():
        step()


def test_the_alarm_rings(drawn_nowhere):
    with pytest.raises(AssertionError, match="tensor of the host"), OneDevice():
        torch.eye(3).to("meta")
    with pytest.raises(RuntimeError, match="meta"), OneDevice():
        torch.zeros(3, device="meta").sum().item()
