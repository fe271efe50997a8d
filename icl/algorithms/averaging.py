"""The average of labelled inputs: the cheapest estimator there is.

References:
    Garg et al. 2022, What can transformers learn in-context?, arXiv:2208.01066
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from icl.algorithms.prefixes import guesses
from icl.algorithms.steps import at_once, one_answer
from icl.core import Prompt


@dataclass(frozen=True, kw_only=True)
class Averaging:
    """ŷ = ⟨w, x_query⟩ with w = (1/N) Σᵢ yᵢ xᵢ, one step of gradient descent with η = 1; entry 0 is 0."""

    def __call__(self, prompt: Prompt, *, steps: int | None = None) -> Float[Tensor, "T #M B *out"]:
        w = torch.einsum("mbnd,mbn...->mbd...", prompt.x, prompt.y) / max(prompt.x.shape[2], 1)
        return at_once(w, prompt.x_query, steps)

    def every_prefix(self, x: Float[Tensor, "#M B P D"], y: Float[Tensor, "#M B P"]) -> Float[Tensor, "T #M B P"]:
        """Entry i is the guess of y_i from the pairs before i, from one cumulative sum."""
        b = (x * y[..., None]).cumsum(2)[:, :, :-1]
        found = torch.zeros_like(y)
        found[:, :, 1:] = guesses(b, x[:, :, 1:]) / torch.arange(1, y.shape[2]).to(x)
        return one_answer(found, None)
