"""The two losses on the same prompts, and their ratio."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from torch import Tensor

from icl.comparisons.measured import Measured
from icl.comparisons.walk import estimate, half_squared_error, per_prompt
from icl.core import Sample, last_step
from icl.rng import Draw


@dataclass(frozen=True, kw_only=True)
class LossRatio:
    """loss_ratio = E ½(ŷ_model − y)² / E ½(ŷ_reference − y)², both means over the same prompts.

    The means themselves (`half_mse`, `reference_half_mse`) carry the noise of the prompts, 0.5 % at 100,000;
    the ratio of the pair does not. Several outputs of one label are summed. Of a target at every position that of
    the query is judged.
    """

    numbers: ClassVar[tuple[str, ...]] = ("loss_ratio", "half_mse", "reference_half_mse")
    n_prompts: int = 100_000

    def __post_init__(self) -> None:
        if self.n_prompts < 1:
            raise ValueError(f"n_prompts={self.n_prompts} must be >= 1")

    def measure(self, model: Any, reference: Any, task: Any, draw: Draw) -> Measured:
        if getattr(task, "positions", "query") == "every":
            task = replace(task, positions="query")
        values = per_prompt(losses, model, reference, task, self.n_prompts, draw)
        numbers, intervals = estimate(values, _reduce, draw)
        return Measured(numbers=numbers, intervals=intervals, n_prompts=self.n_prompts)


def losses(model: Any, reference: Any, sample: Sample) -> dict[str, Tensor]:
    """½(ŷ − y)² of both predictors, a prompt."""
    return {
        "model": half_squared_error(last_step(model, sample.prompt), sample.target),
        "reference": half_squared_error(last_step(reference, sample.prompt), sample.target),
    }


def _reduce(mean: dict[str, Tensor]) -> dict[str, Tensor]:
    model, reference = mean["model"], mean["reference"]
    return {"loss_ratio": model / reference, "half_mse": model, "reference_half_mse": reference}
