"""Least squares, of minimal norm where the context does not determine it.

References:
    Garg et al. 2022, What can transformers learn in-context?, arXiv:2208.01066
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from icl.algorithms.steps import at_once
from icl.core import Prompt


@dataclass(frozen=True, kw_only=True)
class LeastSquares:
    """ŷ = ⟨w, x_query⟩, w of least norm among the minimisers of Σᵢ |⟨w, xᵢ⟩ − yᵢ|². Entry 0 is 0.

    Solved in float64 whatever the prompt's dtype: N = D contexts are often close to singular.
    """

    def __call__(self, prompt: Prompt, *, steps: int | None = None) -> Float[Tensor, "T #M B *out"]:
        w = least_squares_weights(prompt.x.double(), prompt.y.double())
        return at_once(w.to(prompt.x), prompt.x_query, steps)


def least_squares_weights(
    x: Float[Tensor, "#M B N D"], y: Float[Tensor, "#M B N *out"]
) -> Float[Tensor, "#M B D *out"]:
    """X⁺ y, on a CPU by a pivoted QR, which is faster than singular values and exists there alone."""
    labels = y.flatten(3) if y.ndim > 3 else y[..., None]
    if x.device.type == "cpu":
        w = torch.linalg.lstsq(x, labels, driver="gelsy").solution
    else:
        w = torch.linalg.pinv(x) @ labels
    return w.reshape(*x.shape[:2], x.shape[-1], *y.shape[3:])
