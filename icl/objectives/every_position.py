"""The loss of the final guess at every position of a prompt.

References:
    Garg et al. 2022, What can transformers learn in-context?, arXiv:2208.01066
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from icl.core import Sample, last_every_prefix
from icl.objectives.units import Unit, in_unit


@dataclass(frozen=True, kw_only=True)
class EveryPosition:
    """mean over prompts and positions of (ŷ_i − y_i)², ŷ_i the guess from the pairs before i."""

    unit: Unit = "mse"
    needs_sample: ClassVar[bool] = True

    def __call__(self, model: Any, sample: Sample) -> Float[Tensor, "M"]:
        guess = last_every_prefix(model, sample.prompt)
        if sample.target.shape[1:] != guess.shape[1:]:
            raise ValueError("objective=every_position needs a target at every position (task.positions=every)")
        return in_unit((guess - sample.target).square().flatten(1).mean(1), self.unit)
