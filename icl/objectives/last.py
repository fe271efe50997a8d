"""The loss of the final guess on the query."""

from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from icl.core import Sample, last_step
from icl.objectives.units import Unit, in_unit


@dataclass(frozen=True, kw_only=True)
class Last:
    """mean over prompts of (ŷ_T − y_query)², summed over outputs; half of it by default, as in von Oswald et al."""

    unit: Unit = "half_mse"
    needs_sample: ClassVar[bool] = True

    def __call__(self, model: Any, sample: Sample) -> Float[Tensor, "M"]:
        error = last_step(model, sample.prompt) - sample.target
        return in_unit(error.square().reshape(*error.shape[:2], -1).sum(-1).mean(-1), self.unit)
