"""Methods that see a context only through the gradient of L(w) = 1/(2N) Σᵢ (⟨w, xᵢ⟩ − yᵢ)²."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from icl.algorithms.prefixes import guesses, mean_products
from icl.algorithms.steps import guess
from icl.core import Prompt


class FirstOrder(ABC):
    """A predictor ŷ_t = ⟨w_t, x_query⟩ with w_0 = 0, by its iterates for any number of contexts at once."""

    steps: int

    @abstractmethod
    def iterates(self, gradient: Callable[[Tensor], Tensor], w: Tensor, steps: int) -> Iterator[Tensor]:
        """w_0 = `w`, w_1, .., w_steps. Raises ValueError for steps that it cannot make."""

    def __call__(self, prompt: Prompt, *, steps: int | None = None) -> Float[Tensor, "T #M B *out"]:
        x, y = prompt.x, prompt.y

        def gradient(w: Tensor) -> Tensor:
            residual = torch.einsum("mbnd,mbd...->mbn...", x, w) - y
            return torch.einsum("mbnd,mbn...->mbd...", x, residual) / max(x.shape[2], 1)

        start = x.new_zeros(*prompt.x_query.shape, *y.shape[3:])
        iterates = self.iterates(gradient, start, self.steps if steps is None else steps)
        return torch.stack([guess(w, prompt.x_query) for w in iterates])

    def every_prefix(self, x: Float[Tensor, "#M B P D"], y: Float[Tensor, "#M B P"]) -> Float[Tensor, "T #M B P"]:
        """Entry i is the guess of y_i from the pairs before i; all prefixes make their steps at once."""
        product, b = mean_products(x, y)
        iterates = self.iterates(lambda w: product(w) - b, torch.zeros_like(b), self.steps)
        return torch.stack([guesses(w, x) for w in iterates])
