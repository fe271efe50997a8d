"""The loss by class frequency: what an optimiser learned of frequent classes, and what of rare ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from icl.comparisons.measured import Curve, Measured
from icl.core import Sample
from icl.rng import Draw
from icl.runs import Run
from icl.training.batches import training_draw, training_set


@dataclass(frozen=True, kw_only=True)
class ClassLosses:
    """On the training set of a full-batch run, classes in the order of their frequency, groups cut at `cuts`:

    ratio              largest over smallest loss of a class, at the end; ratio_at: at the snapshot `at`
    excess             loss above that of the best table (the conditional entropy of the training set), in nats
    progress_1 .. _4   (uniform − loss) / (uniform − best) of the groups; nan if there is no such group
    law_low, law_high  extremes of ℓ_k π_k η t over classes with ℓ_k < 0.05: 1 for gradient flow
    time_slope         slope of log(first snapshot with ℓ_k < 1, interpolated) against log π_k
    """

    numbers: ClassVar[tuple[str, ...]] = (
        "ratio", "ratio_at", "excess", "progress_1", "progress_2", "progress_3", "progress_4", "law_low", "law_high",
        "time_slope",
    )  # fmt: skip
    cuts: Sequence[int] = (8, 64, 256)
    at: int = 100

    def measure_run(self, run: Run, draw: Draw) -> Measured:
        train = run.config.train
        if train.n_batches != 1:
            raise ValueError(f"class_losses needs a training set: train.n_batches=1 (here {train.n_batches})")
        seeds = run.result["seeds"]
        sample = training_set(run.task, train, training_draw(train, seeds, device=draw.device, dtype=draw.dtype))
        if sample.target.ndim != 3:
            raise ValueError("class_losses needs classes: a target of one number a class")
        frequencies = sample.target.double().mean(1)  # (#M, V): the mass of every class
        order = frequencies.argsort(-1, descending=True)
        pi = frequencies.gather(1, order)
        steps, losses = [], []
        for step, bank in run.snapshots():
            steps.append(step)
            losses.append(by_class(bank.requires_grad_(False).last(sample.prompt), sample).gather(1, order))
        best, uniform = (by_class(logits, sample).gather(1, order) for logits in references(sample))
        table = torch.stack(losses)  # (T, M, V)
        numbers = self._groups(table, best, uniform, pi, steps) | self._laws(table, pi, steps, train.lr)
        return Measured(numbers=numbers, curves=self._curves(table, pi, steps))

    def _groups(self, table: Tensor, best: Tensor, uniform: Tensor, pi: Tensor, steps: list[int]) -> dict[str, Tensor]:
        last = table[-1]
        early = table[steps.index(self.at)] if self.at in steps else last * torch.nan
        numbers = {
            "ratio": last.amax(-1) / last.amin(-1),
            "ratio_at": early.amax(-1) / early.amin(-1),
            "excess": (pi * (last - best)).sum(-1),
        }
        edges = [0, *self.cuts, pi.shape[-1]]
        for i in range(4):
            inside = slice(edges[i], edges[i + 1]) if i + 1 < len(edges) else slice(0, 0)
            loss, floor, start = ((pi * t)[:, inside].sum(-1) for t in (last, best, uniform))
            numbers[f"progress_{i + 1}"] = (start - loss) / (start - floor)
        return numbers

    def _laws(self, table: Tensor, pi: Tensor, steps: list[int], lr: float) -> dict[str, Tensor]:
        product = torch.where(table[-1] < 0.05, table[-1] * pi * lr * steps[-1], torch.nan)
        low, high = product.nan_to_num(torch.inf).amin(-1), product.nan_to_num(-torch.inf).amax(-1)
        times = crossing(table, steps)
        return {"law_low": low, "law_high": high, "time_slope": slope(pi.log().expand_as(times), times.log())}

    def _curves(self, table: Tensor, pi: Tensor, steps: list[int]) -> dict[str, Curve]:
        edges = [0, *(c for c in self.cuts if c < pi.shape[-1]), pi.shape[-1]]
        curves = {}
        for a, b in pairwise(edges):
            mean = (pi * table)[..., a:b].sum(-1) / pi[:, a:b].sum(-1)  # (T, M)
            curves[f"classes_{a + 1}_{b}"] = Curve(
                kind="line", title=f"Loss of the classes {a + 1} to {b} by frequency", x=steps, model=mean.T.tolist(),
                x_label="training step", y_label="cross-entropy (nats)",
            )  # fmt: skip
        return curves


def by_class(logits: Float[Tensor, "#M B V"], sample: Sample) -> Float[Tensor, "M V"]:
    """The mean of −log p over the examples of every class."""
    target = sample.target.double()
    total = -(target * logits.double().log_softmax(-1)).sum(1)
    return total / target.sum(1).clamp(min=1e-300)  # a class that never came has no loss


def references(sample: Sample) -> tuple[Tensor, Tensor]:
    """Logits of the best table, what follows each prompt in the training set, and of the uniform guess."""
    target = sample.target.double()
    best = (target / target.sum(-1, keepdim=True).clamp(min=1e-300)).clamp(min=1e-300).log()
    return best, torch.zeros_like(best)


def crossing(table: Float[Tensor, "T M V"], steps: list[int], level: float = 1.0) -> Float[Tensor, "M V"]:
    """When a loss first falls below `level`, by interpolation between snapshots of 1/ℓ; nan if it never does."""
    below = table < level
    first = below.double().argmax(0).clamp(min=1)
    at = torch.tensor(steps, dtype=torch.float64)
    left, right = (table.gather(0, (first - k)[None])[0] for k in (1, 0))
    weight = ((1 / level - 1 / left) / (1 / right - 1 / left)).clamp(0, 1)
    when = at[first - 1] + weight * (at[first] - at[first - 1])
    return torch.where(below.any(0), when, torch.nan)


def slope(x: Float[Tensor, "M V"], y: Float[Tensor, "M V"]) -> Float[Tensor, "M"]:
    """Least squares over the entries where y is known."""
    known = y.isfinite()
    n = known.sum(-1).clamp(min=1)
    x, y = torch.where(known, x, 0), torch.where(known, y, 0)
    x = torch.where(known, x - (x.sum(-1) / n)[:, None], 0)
    return (x * y).sum(-1) / x.square().sum(-1)
