"""GD++: gradient descent on inputs that each step also makes rounder.

References:
    von Oswald et al. 2022, Transformers learn in-context by gradient descent, arXiv:2212.07677
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from icl.algorithms.steps import each_step, guess
from icl.core import Prompt


@dataclass(frozen=True, kw_only=True)
class GradientDescentPlusPlus:
    """A step of gradient descent on y, and at once a step that shrinks the long directions of every x:

        ŷ_{t+1} = ŷ_t + (η/N) Σᵢ rᵢ ⟨xᵢᵗ, x_queryᵗ⟩,      rᵢ = yᵢ − ⟨w_t, xᵢ⟩  on the inputs as given
        xᵗ⁺¹ = (I − (γ/N) S_t) xᵗ  for context and query,   S_t = Σᵢ xᵢᵗ (xᵢᵗ)ᵀ,   x⁰ = x

    With xᵗ = H_t x this is gradient descent that the prompt preconditions, w ← w + (η/N) H_tᵀ H_t Σᵢ rᵢ xᵢ.
    Entry 0 of the trajectory is 0. γ is `curvature_step_size`; γ = 0 is gradient descent. η and γ multiply
    S/N, so the source's matrix P = diag(−g, .., −g, +h) has g = γ/N, h = η/N. Either may be a sequence with
    an entry a step.
    """

    step_size: float | Sequence[float]
    curvature_step_size: float | Sequence[float]
    steps: int = 1

    def __post_init__(self) -> None:
        self._constants(self.steps)

    def __call__(self, prompt: Prompt, *, steps: int | None = None) -> Float[Tensor, "T #M B *out"]:
        y, x_query, n_context = prompt.y, prompt.x_query, max(prompt.x.shape[2], 1)
        x, H = prompt.x, torch.eye(x_query.shape[-1]).to(x_query)
        H = H.expand(*x_query.shape, -1)
        w = x.new_zeros(*x_query.shape, *y.shape[3:])
        trajectory = [guess(w, x_query)]
        for step_size, curvature_step_size in self._constants(self.steps if steps is None else steps):
            residual = y - torch.einsum("mbnd,mbd...->mbn...", prompt.x, w)
            ascent = torch.einsum("mbnd,mbn...->mbd...", x, residual) / n_context
            w = w + step_size * torch.einsum("mbed,mbe...->mbd...", H, ascent)
            trajectory.append(guess(w, x_query))
            S = torch.einsum("mbnd,mbne->mbde", x, x) / n_context
            x = x - curvature_step_size * torch.einsum("mbde,mbne->mbnd", S, x)
            H = H - curvature_step_size * torch.einsum("mbde,mbef->mbdf", S, H)
        return torch.stack(trajectory)

    def _constants(self, steps: int) -> list[tuple[float, float]]:
        sizes = each_step("step_size", self.step_size, steps)
        return list(zip(sizes, each_step("curvature_step_size", self.curvature_step_size, steps)))
