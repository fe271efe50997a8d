"""Whether two predictions rise and fall together over prompts."""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from icl.comparisons.measured import Measured
from icl.comparisons.walk import estimate, per_prompt
from icl.core import Sample, last_step
from icl.rng import Draw


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """correlation = Σ_o Cov(ŷ_model, ŷ_reference)_o / √(Σ_o Var(ŷ_model)_o Σ_o Var(ŷ_reference)_o), over prompts.

    For one output o Pearson's. A predictor that always says the same has none, nan.
    """

    numbers: ClassVar[tuple[str, ...]] = ("correlation",)
    n_prompts: int = 20_000

    def __post_init__(self) -> None:
        if self.n_prompts < 2:
            raise ValueError(f"n_prompts={self.n_prompts} must be >= 2")

    def measure(self, model: Any, reference: Any, task: Any, draw: Draw) -> Measured:
        values = per_prompt(_moments, model, reference, task, self.n_prompts, draw)
        numbers, intervals = estimate(values, _reduce, draw)
        return Measured(numbers=numbers, intervals=intervals, n_prompts=self.n_prompts)


def _moments(model: Any, reference: Any, sample: Sample) -> dict[str, Tensor]:
    """First and second moments of both predictions, outputs first: `"O #M B"`."""
    a, b = (last_step(p, sample.prompt).double() for p in (model, reference))
    a, b = (v[None] if v.ndim == 2 else v.movedim(-1, 0) for v in (a, b))
    return {"a": a, "b": b, "aa": a * a, "bb": b * b, "ab": a * b}


def _reduce(mean: dict[str, Tensor]) -> dict[str, Tensor]:
    a, b = mean["a"], mean["b"]
    covariance, *variances = (
        (mean[ab] - left * right).sum(-2) for ab, left, right in (("ab", a, b), ("aa", a, a), ("bb", b, b))
    )
    return {"correlation": covariance / (variances[0] * variances[1]).sqrt()}
