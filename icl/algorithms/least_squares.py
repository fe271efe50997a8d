"""Least squares, of minimal norm where the context does not determine it.

References:
    Garg et al. 2022, What can transformers learn in-context?, arXiv:2208.01066
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from icl.algorithms.prefixes import least_squares_guesses
from icl.algorithms.steps import at_once, one_answer
from icl.core import Prompt


@dataclass(frozen=True, kw_only=True)
class LeastSquares:
    """ŷ = ⟨w, x_query⟩, w of least norm among the minimisers of Σᵢ |⟨w, xᵢ⟩ − yᵢ|². Entry 0 is 0.

    Solved in float64 whatever the prompt's dtype: N = D contexts are often close to singular.
    """

    def __call__(self, prompt: Prompt, *, steps: int | None = None) -> Float[Tensor, "T #M B *out"]:
        w = least_squares_weights(prompt.x.double(), prompt.y.double())
        return at_once(w.to(prompt.x), prompt.x_query, steps)

    def every_prefix(self, x: Float[Tensor, "#M B P D"], y: Float[Tensor, "#M B P"]) -> Float[Tensor, "T #M B P"]:
        """Entry i is the guess of y_i from the pairs before i, from one factor of all pairs, in float64."""
        found = least_squares_guesses(x.double(), y.double(), prefix_by_prefix)
        return one_answer(found.to(x), None)


def prefix_by_prefix(x: Float[Tensor, "#M B P D"], y: Float[Tensor, "#M B P"]) -> Float[Tensor, "#M B P"]:
    """The obvious form of `LeastSquares.every_prefix`, for any inputs."""
    answers = [torch.zeros_like(y[:, :, 0])]
    for i in range(1, x.shape[2]):
        w = least_squares_weights(x[:, :, :i], y[:, :, :i])
        answers.append((w * x[:, :, i]).sum(-1))
    return torch.stack(answers, 2)


def least_squares_weights(
    x: Float[Tensor, "#M B N D"], y: Float[Tensor, "#M B N *out"]
) -> Float[Tensor, "#M B D *out"]:
    """X⁺ y, on a CPU by a pivoted QR, which is faster than singular values and exists there alone.

    Of matrices without full rank the QR driver of torch 2.13 returns wrong solutions (a column of zeros is enough);
    it says so in the rank that it found, and those are solved again by singular values.
    """
    labels = y.flatten(3) if y.ndim > 3 else y[..., None]
    if x.device.type == "cpu":
        found = torch.linalg.lstsq(x, labels, driver="gelsy")
        w, deficient = found.solution, found.rank < min(x.shape[2:])
        if deficient.any():
            w[deficient] = torch.linalg.lstsq(x[deficient], labels[deficient], driver="gelsd").solution
    else:
        w = torch.linalg.pinv(x) @ labels
    return w.reshape(*x.shape[:2], x.shape[-1], *y.shape[3:])
