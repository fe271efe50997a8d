"""The loss on the answer alone: no loss on the context or the question, whose gradients flow through the answer's."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from icl.core import Sample, last_step


@dataclass(frozen=True, kw_only=True)
class Answer:
    """mean over prompts and positions of −log p(target), in nats, for predictors of log-probabilities.

    `levels="last"` asks for the last level (context-enhanced learning, Def. 2.1 of Zhu et al. 2025), "all" for the
    mean over every level (a step of the predictor each), which is how a model learns to read phrasebooks.
    """

    levels: Literal["last", "all"] = "last"
    unit: ClassVar[str] = "nats"
    needs_sample: ClassVar[bool] = True
    reads: ClassVar[str] = "text"

    def __call__(self, model: Any, sample: Sample) -> Float[Tensor, "M"]:
        if self.levels == "last":
            guesses, target = last_step(model, sample.prompt)[None], sample.target[:, :, -1:]
        else:
            guesses, target = model(sample.prompt)[1:], sample.target
        found = guesses.gather(-1, target.permute(2, 0, 1, 3).expand(*guesses.shape[:-1])[..., None])
        return -found.mean((0, 2, 3, 4))
