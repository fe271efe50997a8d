"""The loss of the guess after every step: layers, loops or thoughts, all asked for the answer."""

from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from icl.core import Sample
from icl.objectives.units import Unit, in_unit


@dataclass(frozen=True, kw_only=True)
class EveryStep:
    """mean over the steps t = 1..T and prompts of (ŷ_t − y)², summed over the outputs of one label.

    T is `steps`, or the model's own depth. Entry 0 of the trajectory is no guess of the model's and is left out.
    """

    steps: int | None = None
    unit: Unit = "half_mse"
    needs_sample: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"steps={self.steps} must be >= 1, or null")

    def __call__(self, model: Any, sample: Sample) -> Float[Tensor, "M"]:
        error = (model(sample.prompt, steps=self.steps)[1:] - sample.target).square()
        return in_unit(error.flatten(3).sum(-1).mean((0, 2)) if error.ndim > 3 else error.mean((0, 2)), self.unit)
