"""One trained layer, applied again and again, against gradient descent that goes on.

References:
    von Oswald et al. 2022, Transformers learn in-context by gradient descent, arXiv:2212.07677
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from icl.comparisons.interpolated_weights import constant_step
from icl.comparisons.measured import Curve, Measured
from icl.comparisons.walk import estimate, half_squared_error, per_prompt
from icl.config import ConfigError
from icl.core import Prompt, Sample
from icl.rng import Draw

FIRST = 10  # steps over which means are compared


@dataclass(frozen=True, kw_only=True)
class Reapplied:
    """The layer k = 1..steps times, only y updated, damped; gradient descent with η times the damping.

        median_ratio_worst      = max_k     |median ½(ŷ_k,model − y)² / median ½(ŷ_k,reference − y)² − 1|
        mean_ratio_worst_10     = max_{k≤10} the same with means
        stable_mean_ratio_worst = max_k     the same with means over the stable prompts
        unstable_share          = share of prompts with λ_max(Γ S/N) > 2 / (damping η), the unstable ones

    On an unstable prompt gradient descent diverges, and a few of them carry any mean for large k. The
    interval of a maximum leans upwards; medians have none here.
    """

    numbers: ClassVar[tuple[str, ...]] = (
        "median_ratio_worst", "mean_ratio_worst_10", "stable_mean_ratio_worst", "unstable_share"
    )  # fmt: skip
    steps: int = 50
    damping: float = 0.75
    n_prompts: int = 20_000

    def __post_init__(self) -> None:
        if self.n_prompts < 1 or self.steps < 1:
            raise ValueError(f"n_prompts={self.n_prompts} and steps={self.steps} must be >= 1")
        if not 0 < self.damping <= 1:
            raise ValueError(f"damping={self.damping} must be in (0, 1]")

    def suits(self, model: Any) -> None:
        """ConfigError unless the model has what is measured."""
        if getattr(model, "n_layers", None) != 1:
            raise ConfigError(f"{type(model).__name__} is not one layer of linear attention, as is needed here")

    def measure(self, model: Any, reference: Any, task: Any, draw: Draw) -> Measured:
        self.suits(model)
        damped = dataclasses.replace(reference, step_size=self.damping * constant_step(reference)[0])
        values = per_prompt(self._ask, model, damped, task, self.n_prompts, draw)
        numbers, intervals = estimate(_for_means(values), _reduce, draw)
        losses = {name: values[name] for name in ("model", "reference")}
        # A prompt whose predictions overflow to nan has diverged: its loss is above any median.
        median = {name: v.nan_to_num(nan=math.inf).median(-1).values.double() for name, v in losses.items()}
        numbers["median_ratio_worst"] = _worst(median["model"], median["reference"])
        curves = {
            "median": self._curve("Median", median),
            "mean": self._curve("Mean", {name: value.double().mean(-1) for name, value in losses.items()}),
        }
        return Measured(numbers=numbers, intervals=intervals, curves=curves, n_prompts=self.n_prompts)

    def _ask(self, model: Any, damped: Any, sample: Sample) -> dict[str, Tensor]:
        """Losses `"T #M B"` after 1..steps applications."""
        trajectory = model(sample.prompt, steps=self.steps, damping=self.damping)
        reference = damped(sample.prompt, steps=self.steps)
        return {
            "model": half_squared_error(trajectory[1:], sample.target),
            "reference": half_squared_error(reference[1:], sample.target),
            "unstable": unstable(sample.prompt, damped.step_size, damped.preconditioner).to(sample.target),
        }

    def _curve(self, name: str, losses: dict[str, Tensor]) -> Curve:
        return Curve(
            kind="line", title=f"{name} loss when the layer is applied again", x_label="applications, k",
            y_label=f"{name.lower()} half squared error", x=[float(k) for k in range(1, self.steps + 1)],
            model=losses["model"].T.tolist(), reference=losses["reference"].T.tolist(),
            reference_label="gradient descent", log_y=True,
            note=f"{self.n_prompts:,} prompts; damping {self.damping}",
        )  # fmt: skip


def _for_means(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """What means are taken of: the losses of the first steps, and of all steps on stable prompts."""
    stable = values["unstable"] == 0
    first = {f"first_{name}": values[name][:FIRST] for name in ("model", "reference")}
    calm = {f"stable_{name}": torch.where(stable, values[name], 0) for name in ("model", "reference")}
    return {"unstable": values["unstable"], **first, **calm}


def _reduce(mean: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        "mean_ratio_worst_10": _worst(mean["first_model"], mean["first_reference"]),
        "stable_mean_ratio_worst": _worst(mean["stable_model"], mean["stable_reference"]),
        "unstable_share": mean["unstable"],
    }


def _worst(model: Float[Tensor, "*r k M"], reference: Float[Tensor, "*r k #M"]) -> Float[Tensor, "*r M"]:
    """max_k |model / reference − 1|."""
    return (model / reference - 1).abs().amax(-2)


def unstable(prompt: Prompt, step_size: float, preconditioner: Float[Tensor, "D D"] | None) -> Bool[Tensor, "#M B"]:
    """Whether gradient descent diverges: λ_max(Γ S/N) > 2/η, S = Σᵢ xᵢ xᵢᵀ.

    With Γ = C Cᵀ the matrix 2/η I − Cᵀ S C / N has a Cholesky factor exactly if the prompt is stable,
    which is far cheaper to find out than the eigenvalues.

    Raises:
        ValueError: Γ is not symmetric positive definite.
    """
    x = prompt.x
    if preconditioner is not None:
        root, failed = torch.linalg.cholesky_ex(preconditioner.to(x))
        if failed.any() or not torch.allclose(preconditioner, preconditioner.T):
            raise ValueError("stability needs a symmetric positive definite preconditioner")
        x = x @ root
    gram = torch.einsum("mbni,mbnj->mbij", x, x) / x.shape[2]
    identity = torch.eye(x.shape[-1]).to(x)
    return torch.linalg.cholesky_ex(2 / step_size * identity - gram).info != 0
