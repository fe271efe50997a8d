"""The cross-entropy of the final guess, where guesses are logits and targets are distributions over labels."""

from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from icl.core import Sample, last_step


@dataclass(frozen=True, kw_only=True)
class CrossEntropy:
    """−mean over prompts of Σ_v target_v log softmax(ŷ_T)_v, in nats. A target of zero logits is the uniform guess.

    The mass of a target is its weight: a training set that puts equal prompts together gives them more than one.
    """

    unit: ClassVar[str] = "cross_entropy"
    needs_sample: ClassVar[bool] = True

    def __call__(self, model: Any, sample: Sample) -> Float[Tensor, "M"]:
        return cross_entropy(last_step(model, sample.prompt), sample.target).mean(-1)


def cross_entropy(logits: Float[Tensor, "*t #M B V"], target: Float[Tensor, "#M B V"]) -> Float[Tensor, "*t #M B"]:
    """−Σ_v target_v log softmax(logits)_v, a prompt."""
    return -(target * logits.log_softmax(-1)).sum(-1)
