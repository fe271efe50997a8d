"""Conjugate gradient on the in-context least-squares loss: the best polynomial of every prompt's own spectrum.

References:
    Hestenes, Stiefel 1952, Methods of conjugate gradients for solving linear systems
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from icl.algorithms.prefixes import guesses, mean_products
from icl.algorithms.steps import guess
from icl.core import Prompt

CONVERGED = 1e-14  # |r|² over its first value: from here on there is nothing to divide by


@dataclass(frozen=True, kw_only=True)
class ConjugateGradient:
    """w_t minimises L(w) = 1/(2N) Σᵢ (⟨w, xᵢ⟩ − yᵢ)² over span{b, S b, .., S^{t−1} b}, S = Σᵢ xᵢ xᵢᵀ, b = Σᵢ yᵢ xᵢ.

        w ← w + α p,   r ← r − α S p,   p ← r + β p,   α = |r|²/pᵀS p,   β = |r_new|²/|r|²,   r_0 = p_0 = b

    from w_0 = 0, so after min(N, D) steps it is least squares of minimal norm, up to rounding; from then on it
    stays. Each output of a label is a problem of its own. The trajectory is ⟨w_t, x_query⟩, t = 0..steps.
    """

    steps: int = 1

    def __post_init__(self) -> None:
        _checked(self.steps)

    def __call__(self, prompt: Prompt, *, steps: int | None = None) -> Float[Tensor, "T #M B *out"]:
        x, steps = prompt.x, _checked(self.steps if steps is None else steps)

        def product(p: Tensor) -> Tensor:
            return torch.einsum("mbnd,mbn...->mbd...", x, torch.einsum("mbnd,mbd...->mbn...", x, p)) / max(
                x.shape[2], 1
            )

        b = torch.einsum("mbnd,mbn...->mbd...", x, prompt.y) / max(x.shape[2], 1)
        return torch.stack([guess(w, prompt.x_query) for w in _iterates(product, b, steps, axis=2)])

    def every_prefix(self, x: Float[Tensor, "#M B P D"], y: Float[Tensor, "#M B P"]) -> Float[Tensor, "T #M B P"]:
        """Entry i is the guess of y_i from the pairs before i; all prefixes make their steps at once."""
        product, b = mean_products(x, y)
        return torch.stack([guesses(w, x) for w in _iterates(product, b, self.steps, axis=3)])


def _checked(steps: int) -> int:
    if steps < 0:
        raise ValueError(f"steps={steps} must be >= 0")
    return steps


def _iterates(product: Callable[[Tensor], Tensor], b: Tensor, steps: int, *, axis: int) -> Iterator[Tensor]:
    """w_0, .., w_steps of S w = b, S given by its `product`, the coordinates along `axis`."""
    w, r, p = torch.zeros_like(b), b, b
    size = r.square().sum(axis, keepdim=True)
    enough = CONVERGED * size
    yield w
    for _ in range(steps):
        Sp, going = product(p), size > enough
        alpha = torch.where(going, size / torch.where(going, (p * Sp).sum(axis, keepdim=True), 1), 0)
        w, r = w + alpha * p, r - alpha * Sp
        before, size = size, r.square().sum(axis, keepdim=True)
        p = r + torch.where(going, size / torch.where(going, before, 1), 0) * p
        yield w
