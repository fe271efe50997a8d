"""The loss on the tokens of the answer alone, for models that are given the true tokens before each."""

from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from icl.core import Sample


@dataclass(frozen=True, kw_only=True)
class AnswerTokens:
    """mean over prompts and answer tokens of −log p, in nats; context and question are conditioned on.

    Raises:
        ValueError: when called, if no token is left in the loss.
    """

    unit: ClassVar[str] = "nats"
    needs_sample: ClassVar[bool] = True
    reads: ClassVar[str] = "text"

    def __call__(self, model: Any, sample: Sample) -> Float[Tensor, "M"]:
        found = model(sample)
        if found[0].numel() == 0:
            raise ValueError(f"the loss is masked to the answer, and no token is left in it: {tuple(found.shape)}")
        return -found.flatten(1).mean(1)
