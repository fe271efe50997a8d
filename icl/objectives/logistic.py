"""The logistic loss of the final guess, where labels are −1 and 1."""

from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from icl.core import Sample, last_step


@dataclass(frozen=True, kw_only=True)
class Logistic:
    """mean over prompts of log(1 + exp(−y ŷ_T)), y ∈ {−1, 1}, in nats. The guess 0 costs log 2."""

    unit: ClassVar[str] = "logistic_loss"
    needs_sample: ClassVar[bool] = True

    def __call__(self, model: Any, sample: Sample) -> Float[Tensor, "M"]:
        return softplus(-sample.target * last_step(model, sample.prompt)).mean(-1)
