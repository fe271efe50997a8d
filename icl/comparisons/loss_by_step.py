"""Model and reference, step by step: is thought, loop or layer k of the one as good as step k of the other?

References:
    Huang, Wang, Lee 2025, Transformers learn to implement multi-step gradient descent with chain of thought,
    arXiv:2502.21212
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from icl.comparisons.exact_loss_ratio import known
from icl.comparisons.interpolated_weights import constant_step
from icl.comparisons.measured import Curve, Measured
from icl.comparisons.reapplied import unstable
from icl.comparisons.walk import estimate, half_squared_error, per_prompt
from icl.config import ConfigError
from icl.core import Sample
from icl.rng import Draw
from icl.theory.stability import warn_if_unstable

AT = (1, 5, 10, 20, 40)
EARLY = 10
NAMES = {
    "median": "Median",
    "mean": "Mean",
    "lowest_tenth": "10 % quantile of the",
    "highest_tenth": "90 % quantile of the",
}
OF_MEANS = ("mean", "mean_ratio", "one_step_ratio")
OF_MEDIANS = ("median", "median_ratio")


@dataclass(frozen=True, kw_only=True)
class LossByStep:
    """½ |ŷ_k − y|² after every step k = 1 .. 40 of both, on the same prompts, each going on from its own guesses.

        mean_k, median_k               of the model, k in 1, 5, 10, 20, 40
        mean_ratio_k, median_ratio_k   the same over that of the reference
        one_step_ratio_k               mean_k over the task's exact best single step, ½ mse
        early_mean_ratio_worst         max_{k ≤ 10} |mean ratio − 1|
        unstable_share                 share of prompts with λ_max(Γ S/N) > 2/η of the reference, if it has one η

    On an unstable prompt the reference diverges, and for large k a few of them carry any mean: read it beside the
    median and `unstable_share`, which is a warning above 0.1 % unless it is a shift's. `shift` replaces fields of the
    task: both are asked elsewhere than the model was trained. Medians have no interval here. With `band` the deciles
    of the model are kept as curves.
    """

    numbers: ClassVar[tuple[str, ...]] = (
        *(f"{name}_{k}" for name in (*OF_MEANS, *OF_MEDIANS) for k in AT),
        "early_mean_ratio_worst",
        "unstable_share",
    )
    n_prompts: int = 20_000
    shift: Mapping[str, Any] = field(default_factory=dict)
    band: bool = False

    def __post_init__(self) -> None:
        if self.n_prompts < 1:
            raise ValueError(f"n_prompts={self.n_prompts} must be >= 1")

    def measure(self, model: Any, reference: Any, task: Any, draw: Draw) -> Measured:
        task = self._shifted(task)
        values = per_prompt(self._ask, model, reference, task, self.n_prompts, draw)
        one_step = known(task.best_one_step_half_mse) if hasattr(task, "best_one_step_half_mse") else math.nan
        numbers, intervals = estimate(values, lambda mean: _of_means(mean, one_step), draw)
        # A prompt whose guesses overflow to nan has diverged: its loss is above any median.
        loss = {name: values[name].nan_to_num(nan=math.inf).double() for name in ("model", "reference")}
        median = {name: value.median(-1).values for name, value in loss.items()}
        numbers |= _at("median", median["model"]) | _at("median_ratio", median["model"] / median["reference"])
        by_step = {"median": median, "mean": {name: value.mean(-1) for name, value in loss.items()}}
        if self.band:
            for which, level in (("lowest_tenth", 0.1), ("highest_tenth", 0.9)):
                by_step[which] = {name: value.quantile(level, dim=-1) for name, value in loss.items()}
        unstable = numbers["unstable_share"].max().item()
        if not self.shift:  # elsewhere it is what is asked
            warn_if_unstable(unstable, f"gradient descent with step_size={getattr(reference, 'step_size', None)}")
        curves = {which: self._curve(which, loss, unstable) for which, loss in by_step.items()}
        return Measured(numbers=numbers, intervals=intervals, curves=curves, n_prompts=self.n_prompts)

    def _shifted(self, task: Any) -> Any:
        try:
            return dataclasses.replace(task, **self.shift)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"shift={dict(self.shift)} does not fit {type(task).__name__}: {error}") from None

    @staticmethod
    def _ask(model: Any, reference: Any, sample: Sample) -> dict[str, Tensor]:
        """Losses `"T #M B"` after 1 .. 40 steps."""
        loss = {
            name: half_squared_error(who(sample.prompt, steps=AT[-1])[1:], sample.target)
            for name, who in (("model", model), ("reference", reference))
        }
        return loss | {"unstable": _unstable(reference, sample)}

    def _curve(self, which: str, loss: dict[str, Tensor], unstable: float) -> Curve:
        parts = [f"{key} = {value}" if isinstance(value, int | float) else key for key, value in self.shift.items()]
        where = f" at {', '.join(parts)}" if parts else ""
        return Curve(
            kind="line", title=f"{NAMES[which]} error after every step{where}", x_label="steps, k",
            y_label="½ |guess − answer|²", x=[float(k) for k in range(1, AT[-1] + 1)], log_y=True,
            model=loss["model"].T.tolist(), reference=loss["reference"].T.tolist(),
            note=f"{self.n_prompts:,} prompts; the reference diverges on {100 * unstable:.2g} % of them",
        )  # fmt: skip


def _unstable(reference: Any, sample: Sample) -> Float[Tensor, "#M B"]:
    """1 where a reference with one constant step diverges; nan if it has none."""
    try:
        step_size, preconditioner = constant_step(reference)
    except ConfigError:
        return torch.full_like(sample.prompt.x[:, :, 0, 0], math.nan)
    return unstable(sample.prompt, step_size, preconditioner).to(sample.target)


def _at(name: str, by_step: Float[Tensor, "*r T M"]) -> dict[str, Float[Tensor, "*r M"]]:
    return {f"{name}_{k}": by_step[..., k - 1, :] for k in AT}


def _of_means(mean: dict[str, Tensor], one_step: float) -> dict[str, Tensor]:
    model, ratio = mean["model"], mean["model"] / mean["reference"]
    worst = (ratio[..., :EARLY, :] - 1).abs().amax(-2)
    numbers = _at("mean", model) | _at("mean_ratio", ratio) | _at("one_step_ratio", model / one_step)
    return numbers | {"early_mean_ratio_worst": worst, "unstable_share": mean["unstable"]}
