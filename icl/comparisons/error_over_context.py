"""The error of two predictors at every length of the context.

References:
    Garg et al. 2022, What can transformers learn in-context?, arXiv:2208.01066 (Figs. 2 to 5)
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from icl.comparisons.measured import Curve, Measured
from icl.comparisons.walk import estimate, per_prompt
from icl.config import ConfigError
from icl.core import Sample, last_every_prefix
from icl.rng import Draw


@dataclass(frozen=True, kw_only=True)
class ErrorOverContext:
    """E (ŷ − f(x))² / E f(x)² after i = 0..N pairs, so that the zero guess has 1, on the same prompts.

    E f(x)² is exact: D for linear functions and ReLU networks, s for s non-zero weights, 1 for trees, which are the
    units of the source (its MSE/d).

        relative_mse, reference_relative_mse   after `n_pairs` pairs (None: N)
        ratio                                  the first over the second there
        largest_gap                            max over i = 0..N of |model − reference|
    """

    numbers: ClassVar[tuple[str, ...]] = ("relative_mse", "reference_relative_mse", "ratio", "largest_gap")
    n_prompts: int = 4000
    n_pairs: int | None = None

    def __post_init__(self) -> None:
        if self.n_prompts < 1:
            raise ValueError(f"n_prompts={self.n_prompts} must be >= 1")
        if self.n_pairs is not None and self.n_pairs < 0:
            raise ValueError(f"n_pairs={self.n_pairs} must be >= 0, or null for all")

    def measure(self, model: Any, reference: Any, task: Any, draw: Draw) -> Measured:
        unit, at = unit_of(task), task.n_context if self.n_pairs is None else self.n_pairs
        if at > task.n_context:
            raise ConfigError(f"n_pairs={at} must be <= {task.n_context}, the task's n_context")
        values = per_prompt(errors, model, reference, replace(task, positions="every"), self.n_prompts, draw)
        values = {name: value / unit for name, value in values.items()}
        numbers, intervals = estimate(values, lambda mean: _reduce(mean, at), draw)
        mean = {name: value.double().mean(-1).T.tolist() for name, value in values.items()}
        curve = Curve(
            kind="line", title="Error over the length of the context", x_label="pairs seen, i",
            y_label="E (ŷ − f)² / E f²", x=[float(i) for i in range(task.n_context + 1)], model=mean["model"],
            reference=mean["reference"], note=f"{self.n_prompts:,} prompts",
        )  # fmt: skip
        return Measured(numbers=numbers, intervals=intervals, curves={"positions": curve}, n_prompts=self.n_prompts)


def unit_of(task: Any) -> float:
    """E f(x)² of a task's function at its query.

    Raises:
        ConfigError: it has no targets at every position, or does not know it.
    """
    if not hasattr(task, "positions"):
        raise ConfigError(f"{type(task).__name__} has no positions; error_over_context needs a target at each")
    zero = replace(task, positions="query").known_half_mse().get("zero")
    if not zero:
        raise ConfigError(f"{type(task).__name__} with these fields does not know E f(x)², the unit of errors")
    return 2 * zero


def errors(model: Any, reference: Any, sample: Sample) -> dict[str, Tensor]:
    """Squared errors at every position, "P #M B"."""

    def squared(guess: Float[Tensor, "#M B P"]) -> Float[Tensor, "P #M B"]:
        return (guess - sample.target).square().permute(2, 0, 1)

    return {
        "model": squared(last_every_prefix(model, sample.prompt)),
        "reference": squared(last_every_prefix(reference, sample.prompt)),
    }


def _reduce(mean: dict[str, Tensor], at: int) -> dict[str, Tensor]:
    """From `"*r P #M"`."""
    model, reference = mean["model"], mean["reference"]
    return {
        "relative_mse": model[..., at, :],
        "reference_relative_mse": reference[..., at, :].expand_as(model[..., at, :]),
        "ratio": model[..., at, :] / reference[..., at, :],
        "largest_gap": (model - reference).abs().amax(-2),
    }
