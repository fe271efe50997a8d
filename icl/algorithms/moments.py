"""Algorithms that see a context only through A = Σᵢ xᵢ xᵢᵀ and b = Σᵢ yᵢ xᵢ: all its prefixes are a cumulative sum.

A subclass states its weights after every step as a function of (A, b, n); the call on a prompt and the guesses at
every position follow from that.
"""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from icl.core import Prompt


class FromMoments(ABC):
    """A predictor ŷ_t = ⟨w_t(A, b, n), x_query⟩ for scalar labels, with w_0 = 0."""

    steps: int

    @abstractmethod
    def weights(
        self, A: Float[Tensor, "*batch D D"], b: Float[Tensor, "*batch D"], n: Float[Tensor, "*batch"], steps: int
    ) -> Float[Tensor, "T *batch D"]:
        """w_0 = 0, w_1, .., w_steps. n is the number of pairs, 1 for an empty context (A = 0, b = 0)."""

    def __call__(self, prompt: Prompt, *, steps: int | None = None) -> Float[Tensor, "T #M B"]:
        x, y = prompt.x.double(), prompt.y.double()
        A, b = torch.einsum("mbnd,mbne->mbde", x, x), torch.einsum("mbnd,mbn->mbd", x, y)
        n = A.new_full(A.shape[:2], max(x.shape[2], 1))
        w = self.weights(A, b, n, self._depth(steps))
        return torch.einsum("tmbd,mbd->tmb", w, prompt.x_query.double()).to(prompt.x)

    def every_prefix(self, x: Float[Tensor, "#M B P D"], y: Float[Tensor, "#M B P"]) -> Float[Tensor, "T #M B P"]:
        """Entry i is the guess of y_i from the pairs before i; all prefixes at once, in float64."""
        A, b = prefix_moments(x.double(), y.double())
        n = torch.arange(x.shape[2], device=x.device, dtype=A.dtype).clamp(min=1).expand(A.shape[:3])
        w = self.weights(A, b, n, self._depth(None))
        return torch.einsum("tmbpd,mbpd->tmbp", w, x.double()).to(x)

    def _depth(self, steps: int | None) -> int:
        found = self.steps if steps is None else steps
        if found < 0:
            raise ValueError(f"steps={found} must be >= 0")
        return found


def prefix_moments(
    x: Float[Tensor, "#M B P D"], y: Float[Tensor, "#M B P"]
) -> tuple[Float[Tensor, "#M B P D D"], Float[Tensor, "#M B P D"]]:
    """(A, b) of the pairs before every position; position 0 has none."""
    A = torch.einsum("mbpd,mbpe->mbpde", x, x).cumsum(2).roll(1, 2)
    b = (x * y[..., None]).cumsum(2).roll(1, 2)
    A[:, :, 0], b[:, :, 0] = 0, 0
    return A, b


def matvec(A: Float[Tensor, "*batch D D"], v: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
    """A v."""
    return (A @ v[..., None])[..., 0]
