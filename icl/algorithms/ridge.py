"""Ridge regression.

References:
    Akyürek et al. 2022, What learning algorithm is in-context learning?, arXiv:2211.15661
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from icl.algorithms.prefixes import ridge_guesses
from icl.algorithms.steps import at_once, one_answer
from icl.core import Prompt


@dataclass(frozen=True, kw_only=True)
class Ridge:
    """ŷ = ⟨w, x_query⟩ with w = (Σᵢ xᵢ xᵢᵀ + λ I)⁻¹ Σᵢ yᵢ xᵢ. Entry 0 is 0.

    λ > 0 is `ridge`, beside the sum over the context, not its mean; λ = σ² is the Bayes predictor for w ~
    N(0, I).
    """

    ridge: float

    def __post_init__(self) -> None:
        if not (self.ridge > 0 and math.isfinite(self.ridge)):
            raise ValueError(f"ridge={self.ridge} must be > 0 and finite (0 is least_squares)")

    def __call__(self, prompt: Prompt, *, steps: int | None = None) -> Float[Tensor, "T #M B *out"]:
        w = ridge_weights(prompt.x.double(), prompt.y.double(), self.ridge)
        return at_once(w.to(prompt.x), prompt.x_query, steps)

    def every_prefix(self, x: Float[Tensor, "#M B P D"], y: Float[Tensor, "#M B P"]) -> Float[Tensor, "T #M B P"]:
        """Entry i is the guess of y_i from the pairs before i, from one factor of all pairs, in float64."""
        return one_answer(ridge_guesses(x.double(), y.double(), self.ridge).to(x), None)


def ridge_weights(
    x: Float[Tensor, "#M B N D"], y: Float[Tensor, "#M B N *out"], ridge: float
) -> Float[Tensor, "#M B D *out"]:
    """(Σᵢ xᵢ xᵢᵀ + ridge I)⁻¹ Σᵢ yᵢ xᵢ."""
    S = torch.einsum("mbnd,mbne->mbde", x, x) + ridge * torch.eye(x.shape[-1]).to(x)
    labelled = torch.einsum("mbnd,mbn...->mbd...", x, y)
    columns = labelled.reshape(*labelled.shape[:3], -1)
    return torch.cholesky_solve(columns, torch.linalg.cholesky(S)).reshape(labelled.shape)
