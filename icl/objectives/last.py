"""The loss of the final guess on the query."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import mse_loss

from icl.core import Sample, last_step
from icl.objectives.units import Unit, in_unit


@dataclass(frozen=True, kw_only=True)
class Last:
    """mean over prompts of (ŷ_T − y_query)², summed over outputs; half of it by default, as in von Oswald et al."""

    unit: Unit = "half_mse"
    needs_sample: ClassVar[bool] = True

    def __call__(self, model: Any, sample: Sample) -> Float[Tensor, "M"]:
        guess, target = torch.broadcast_tensors(last_step(model, sample.prompt), sample.target)
        squares = mse_loss(guess, target, reduction="none")  # one pass over the batch, and one backwards
        return in_unit((squares.flatten(2).sum(-1) if squares.ndim > 2 else squares).mean(-1), self.unit)
