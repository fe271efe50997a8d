"""Gradient descent on the in-context least-squares loss, plain or preconditioned.

References:
    von Oswald et al. 2022, Transformers learn in-context by gradient descent, arXiv:2212.07677
    Ahn et al. 2023, Transformers learn to implement preconditioned gradient descent, arXiv:2306.00297
    Mahankali, Hashimoto, Ma 2023, One step of gradient descent is provably optimal, arXiv:2307.03576
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from icl.algorithms.steps import each_step, guess
from icl.core import Prompt


@dataclass(frozen=True, kw_only=True)
class GradientDescent:
    """Gradient descent on the in-context least-squares loss, from w_0 = `w_init`, zero by default.

        L(w) = 1/(2N) Σᵢ |⟨w, xᵢ⟩ − yᵢ|²,      w_{t+1} = w_t − η Γ ∇L(w_t)

    The trajectory is ŷ_t = ⟨w_t, x_query⟩ for t = 0..steps. η and Γ may be sequences with an entry a step;
    there are no more steps than entries then. Γ = I is the step of von Oswald et al. (2022), a learned Γ that
    of Ahn et al. (2023).
    """

    step_size: float | Sequence[float]
    steps: int = 1
    preconditioner: Float[Tensor, "D D"] | Sequence[Float[Tensor, "D D"]] | None = None
    w_init: Float[Tensor, "D *out"] | None = None

    def __post_init__(self) -> None:
        self._constants(self.steps)

    @classmethod
    def best_for(cls, *, task: Any, steps: int = 1) -> "GradientDescent":
        """The plain step that is best for `task` if it is the only one, made `steps` times."""
        return cls(step_size=task.best_step_size(), steps=steps)

    @classmethod
    def best_preconditioned_for(cls, *, task: Any, steps: int = 1) -> "GradientDescent":
        """The step that is best for `task` if it is the only one, made `steps` times; η = 1, Γ says all."""
        return cls(step_size=1.0, steps=steps, preconditioner=task.n_context * task.best_preconditioner())

    def __call__(self, prompt: Prompt, *, steps: int | None = None) -> Float[Tensor, "T #M B *out"]:
        x, y, x_query = prompt.x, prompt.y, prompt.x_query
        w = x.new_zeros(*x_query.shape, *y.shape[3:])
        if self.w_init is not None:
            w = w + self.w_init.to(w)
        trajectory = [guess(w, x_query)]
        for step_size, preconditioner in self._constants(self.steps if steps is None else steps):
            residual = torch.einsum("mbnd,mbd...->mbn...", x, w) - y
            grad = torch.einsum("mbnd,mbn...->mbd...", x, residual) / max(x.shape[2], 1)
            if preconditioner is not None:
                grad = torch.einsum("de,mbe...->mbd...", preconditioner.to(grad), grad)
            w = w - step_size * grad
            trajectory.append(guess(w, x_query))
        return torch.stack(trajectory)

    def _constants(self, steps: int) -> list[tuple[float, Tensor | None]]:
        sizes = each_step("step_size", self.step_size, steps)
        if self.preconditioner is None:
            return [(size, None) for size in sizes]
        return list(zip(sizes, each_step("preconditioner", self.preconditioner, steps)))
