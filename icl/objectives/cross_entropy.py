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

    Raises:
        ValueError: when called, if guesses or targets are single numbers.
    """

    unit: ClassVar[str] = "cross_entropy"
    needs_sample: ClassVar[bool] = True

    def __call__(self, model: Any, sample: Sample) -> Float[Tensor, "M"]:
        logits = last_step(model, sample.prompt)
        if min(logits.ndim, sample.target.ndim) < 3:
            raise ValueError("cross_entropy needs a guess and a target for every label, and these are single numbers")
        return cross_entropy(logits, sample.target).mean(-1)


def cross_entropy(logits: Float[Tensor, "*t #M B V"], target: Float[Tensor, "#M B V"]) -> Float[Tensor, "*t #M B"]:
    """−Σ_v target_v log softmax(logits)_v, a prompt."""
    return -(target * logits.log_softmax(-1)).sum(-1)
