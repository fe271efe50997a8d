"""What a run was trained on, for probes: its prompts, its objective, its weights at a step."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from icl.config import Train, build
from icl.config.build import build_model
from icl.config.schema import plain
from icl.probes.loss_surface import LossSurface
from icl.probes.parameter_norms import flat
from icl.rng import Draw
from icl.runs import Run
from icl.training.batches import training_draw, training_set


def objective_of(run: Run) -> Any:
    return build(run.config.objective, plugins=run.plugins, key="objective")


def recipe(run: Run) -> Train:
    return Train(**plain(run.config.train))


def seeds_of(run: Run) -> list[int]:
    return list(range(run.config.seed, run.config.seed + run.config.n_seeds))


def training_samples(run: Run, n_prompts: int, draw: Draw) -> list[Any]:
    """The fixed set of a run with `train.n_batches`, every member's own; else `n_prompts` fresh prompts, for all.

    They are float64 numbers of the run's own draw. After a curriculum the task is the last one.
    """
    train = recipe(run)
    if train.n_batches is None:
        return [as_double(run.task.sample(n_prompts, draw.at(0, f"{draw.name}/set")))]
    draw = training_draw(train, seeds_of(run), device=draw.device, dtype=draw.dtype)
    if train.n_batches == 1:
        return [as_double(training_set(run.task, train, draw))]
    return [as_double(run.task.sample(train.batch_size, draw.at(step))) for step in range(train.n_batches)]


def surface_of(run: Run, n_prompts: int, draw: Draw) -> LossSurface:
    """The loss on `training_samples`."""
    return LossSurface(run.model, objective_of(run), training_samples(run, n_prompts, draw))


def weights_at(run: Run, steps: Sequence[int]) -> dict[int, Float[Tensor, "M F"]]:
    """θ after so many updates, from the snapshots. A step beyond the training is its end.

    Raises:
        ValueError: the run kept no weights at such a step.
    """
    last = run.config.train.steps
    asked = {min(step, last) for step in steps}
    found = {last: flat(run.model)} if last in asked else {}
    if asked - set(found):
        kept = run.folder.has("snapshots.safetensors")
        found |= {step: flat(model) for step, model in run.snapshots() if step in asked} if kept else {}
    if missing := sorted(asked - set(found)):
        raise ValueError(f"the run kept no weights of step {missing[0]}; train with train.snapshot_at={sorted(asked)}")
    return dict(sorted(found.items()))


def minibatches(run: Run, samples: Sequence[Any], n: int, batch_size: int, member: int, draw: Draw) -> Any:
    """n batches of one member as a bank, (n, batch_size, ...): subsets of a fixed set, or fresh prompts."""
    if recipe(run).n_batches is None:
        fresh = run.task.sample(n * batch_size, draw)
        return each_tensor(fresh, lambda t: t[0].double().unflatten(0, (n, batch_size)))
    joined = _joined(samples)
    n_prompts = joined.target.shape[1]
    if batch_size > n_prompts:
        raise ValueError(f"batch_size={batch_size} must be <= {n_prompts}, the prompts of the fixed set")
    picks = draw.permutations(n, n_prompts)[0, :, :batch_size]
    return each_tensor(joined, lambda t: t[min(member, t.shape[0] - 1)][picks])


def minibatch_gradients(run: Run, theta: Float[Tensor, "F"], batches: Any) -> Float[Tensor, "n F"]:
    """The gradient of each batch at one θ: a bank of n equal members, each with prompts of its own."""
    n = batches.target.shape[0]
    bank = build_model(run.config, n_seeds=n, plugins=run.plugins)
    return LossSurface(bank, objective_of(run), [batches]).gradient(theta.expand(n, -1))


def each_tensor(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """A sample with every tensor in it changed."""
    if isinstance(value, Tensor):
        return change(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = {f.name: each_tensor(getattr(value, f.name), change) for f in dataclasses.fields(value)}
        return type(value)(**parts)
    return value


def as_double(sample: Any) -> Any:
    return each_tensor(sample, lambda t: t.double() if t.is_floating_point() else t)


def _joined(samples: Sequence[Any]) -> Any:
    """Several batches of one law as one."""
    if len(samples) == 1:
        return samples[0]
    parts: list[list[Tensor]] = [[] for _ in samples]
    for part, sample in zip(parts, samples, strict=True):
        each_tensor(sample, lambda t, part=part: part.append(t) or t)
    joined = iter([torch.cat(same, dim=1) for same in zip(*parts, strict=True)])
    return each_tensor(samples[0], lambda _: next(joined))
