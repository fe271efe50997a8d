"""Conjugate gradient on the in-context least-squares loss: the best polynomial of every prompt's own spectrum.

References:
    Hestenes, Stiefel 1952, Methods of conjugate gradients for solving linear systems
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

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
        if self.steps < 0:
            raise ValueError(f"steps={self.steps} must be >= 0")

    def __call__(self, prompt: Prompt, *, steps: int | None = None) -> Float[Tensor, "T #M B *out"]:
        steps = self.steps if steps is None else steps
        if steps < 0:
            raise ValueError(f"steps={steps} must be >= 0")
        x, x_query = prompt.x, prompt.x_query
        r = torch.einsum("mbnd,mbn...->mbd...", x, prompt.y) / max(x.shape[2], 1)
        w, p, size = torch.zeros_like(r), r, r.square().sum(2, keepdim=True)
        enough, trajectory = CONVERGED * size, [guess(w, x_query)]
        for _ in range(steps):
            Sp = torch.einsum("mbnd,mbn...->mbd...", x, torch.einsum("mbnd,mbd...->mbn...", x, p)) / x.shape[2]
            going = size > enough
            alpha = torch.where(going, size / torch.where(going, (p * Sp).sum(2, keepdim=True), 1), 0)
            w, r = w + alpha * p, r - alpha * Sp
            before, size = size, r.square().sum(2, keepdim=True)
            p = r + torch.where(going, size / torch.where(going, before, 1), 0) * p
            trajectory.append(guess(w, x_query))
        return torch.stack(trajectory)
