"""In-context learning once more, with the same demonstrations in another order: the ceiling of every similarity.

References:
    Shen et al. 2023, Do pretrained transformers learn in-context by gradient descent?, arXiv:2310.08540
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from icl.algorithms.language_arm import Arm, Tuned
from icl.core import TokenPrompt, TokenSample
from icl.rng import Draw


@dataclass(frozen=True, kw_only=True)
class ReorderedContext:
    """trajectory[k] = scores after the first k demonstrations of a drawn order; entry 0 is zero-shot."""

    reads: ClassVar[str] = "words"
    order_seed: int = 0
    start: Literal["trained", "random", "trained_embeddings"] = "trained"

    def __call__(
        self, prompt: TokenPrompt, *, model: Any, steps: int | None = None, seed: int = 0
    ) -> Float[Tensor, "T 1 B V"]:
        if self.start != "trained":
            raise ValueError("a trajectory is of the trained model")
        return model(self.reordered(prompt, seed), steps=steps)

    def reordered(self, prompt: TokenPrompt, seed: int) -> TokenPrompt:
        draw = Draw([seed], f"reordered_context/{self.order_seed}")
        return prompt.reordered(draw.permutations(1, prompt.n_demos)[0, 0].to(prompt.demos.device))

    def arm(self, model: Any, sample: TokenSample, validation: TokenSample, *, seed: int, capture: bool = True) -> Arm:
        """One reading: nothing is trained, so there is no learning rate."""
        prompt = self.reordered(sample.prompt, seed)
        reading = model.read(prompt, start=self.start, seed=seed, capture=capture)
        return Arm([Tuned(lr=math.nan, reading=reading)], 0)
