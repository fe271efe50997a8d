"""Both predictors, fixed as they are at the training distribution, on tasks of another scale.

References:
    von Oswald et al. 2022, Transformers learn in-context by gradient descent, arXiv:2212.07677
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from icl.comparisons.loss_ratio import losses
from icl.comparisons.measured import Curve, Measured
from icl.comparisons.walk import estimate, per_prompt
from icl.rng import Draw

AXES = {"input": "input_scale", "weight": "weight_scale"}
LABELS = {"input": "inputs", "weight": "weights of the task"}


@dataclass(frozen=True, kw_only=True)
class OutOfDistribution:
    """Mean losses at α times the scale of the training inputs, and at α times the scale of the weights.

        worst_ratio_input = max_α |E ½(ŷ_model − y)² / E ½(ŷ_reference − y)² − 1|      (same for weights)

    The step size of the reference stays that of the training distribution. All α see the same underlying
    draws. The interval of a maximum leans upwards: it takes the largest of several noisy deviations.
    """

    numbers: ClassVar[tuple[str, ...]] = ("worst_ratio_input", "worst_ratio_weight")
    input_scales: Sequence[float] = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
    weight_scales: Sequence[float] = (0.5, 1.0, 2.0, 3.0, 5.0)
    n_prompts: int = 20_000

    def __post_init__(self) -> None:
        if self.n_prompts < 1:
            raise ValueError(f"n_prompts={self.n_prompts} must be >= 1")
        for name in ("input_scales", "weight_scales"):
            alphas = getattr(self, name)
            if not alphas or not all(0 < alpha < float("inf") for alpha in alphas):
                raise ValueError(f"{name}={list(alphas)} must be finite numbers > 0, at least one")

    def measure(self, model: Any, reference: Any, task: Any, draw: Draw) -> Measured:
        numbers, intervals, curves = {}, {}, {}
        for axis, alphas in (("input", self.input_scales), ("weight", self.weight_scales)):
            values = self._losses(axis, alphas, model, reference, task, draw)
            number, interval = estimate(values, lambda mean, name=f"worst_ratio_{axis}": {name: _worst(mean)}, draw)
            numbers |= number
            intervals |= interval
            curves[f"{axis}_scale"] = _curve(axis, alphas, values)
        return Measured(numbers=numbers, intervals=intervals, curves=curves, n_prompts=self.n_prompts)

    def _losses(
        self, axis: str, alphas: Sequence[float], model: Any, reference: Any, task: Any, draw: Draw
    ) -> dict[str, Tensor]:
        """Losses `"K #M B"` at every α."""
        field = AXES[axis]
        shifted = [dataclasses.replace(task, **{field: alpha * getattr(task, field)}) for alpha in alphas]
        values = [per_prompt(losses, model, reference, task, self.n_prompts, draw) for task in shifted]
        return {name: torch.stack([v[name] for v in values]) for name in ("model", "reference")}


def _worst(mean: dict[str, Tensor]) -> Tensor:
    return (mean["model"] / mean["reference"] - 1).abs().amax(-2)


def _curve(axis: str, alphas: Sequence[float], values: dict[str, Tensor]) -> Curve:
    mean = {name: value.double().mean(-1).T.tolist() for name, value in values.items()}
    return Curve(
        kind="line", title=f"Trained at 1, asked elsewhere: {LABELS[axis]}",
        x_label=f"scale of the {LABELS[axis]}, α", y_label="half MSE", log_y=True,
        x=list(alphas), model=mean["model"], reference=mean["reference"],
        note=f"{values['model'].shape[-1]:,} prompts a point, the same draws at every α",
    )  # fmt: skip
