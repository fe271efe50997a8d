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

from icl.algorithms.prefixes import guesses, mean_products
from icl.algorithms.spectra import own_basis
from icl.algorithms.steps import Returns, answer, asked_for, check_returns, collect, each_step, read, zero_weights
from icl.core import Prompt
from icl.tasks.linear_regression_theory import NotKnown
from icl.theory.residual_polynomials import best_free_steps, best_tied_step
from icl.theory.rotation_fits import best_rotation


@dataclass(frozen=True, kw_only=True)
class GradientDescent:
    """Gradient descent on the in-context least-squares loss, from w_0 = `w_init`, zero by default.

        L(w) = 1/(2N) Σᵢ |⟨w, xᵢ⟩ − yᵢ|²,      w_{t+1} = w_t − η Γ ∇L(w_t)

    The trajectory is ŷ_t = ⟨w_t, x_query⟩ for t = 0..steps. η and Γ may be sequences with an entry a step;
    there are no more steps than entries then. Γ = I is the step of von Oswald et al. (2022), a learned Γ that
    of Ahn et al. (2023). With `returns="weights"` the trajectory is w_t itself, "T #M B D *out".
    """

    step_size: float | Sequence[float]
    steps: int = 1
    preconditioner: Float[Tensor, "D D"] | Sequence[Float[Tensor, "D D"]] | None = None
    w_init: Float[Tensor, "D *out"] | None = None
    returns: Returns = "prediction"

    def __post_init__(self) -> None:
        check_returns(self.returns)
        self._constants(self.steps)

    @classmethod
    def best_for(cls, *, task: Any, steps: int = 1) -> "GradientDescent":
        """The plain step that is best for `task` if it is the only one, made `steps` times."""
        return cls(step_size=task.best_step_size(), steps=steps, returns=asked_for(task))

    @classmethod
    def best_preconditioned_for(cls, *, task: Any, steps: int = 1) -> "GradientDescent":
        """The step that is best for `task` if it is the only one, made `steps` times; η = 1, Γ says all."""
        gamma = task.n_context * task.best_preconditioner()
        return cls(step_size=1.0, steps=steps, preconditioner=gamma, returns=asked_for(task))

    @classmethod
    def best_free_for(cls, *, task: Any, steps: int) -> "GradientDescent":
        """The best `steps` step sizes, ascending (their order is arbitrary), by the orthogonal polynomial of the task.

        If the inputs have a covariance Σ that is no multiple of I, the steps are preconditioned by Σ⁻¹.

        Raises:
            NotKnown: the labels are no ⟨w, x⟩ with w ~ N(0, c Σ⁻¹).
        """
        basis = own_basis(task)
        sizes, preconditioner = basis.steps(best_free_steps(basis.spectrum, steps).step_sizes)
        return cls(step_size=sizes, steps=steps, preconditioner=preconditioner)

    @classmethod
    def best_tied_for(cls, *, task: Any, steps: int) -> "GradientDescent":
        """The one step size that is best if it is made `steps` times; else as `best_free_for`."""
        basis = own_basis(task)
        sizes, preconditioner = basis.steps([best_tied_step(basis.spectrum, steps).step_size])
        return cls(step_size=sizes[0], steps=steps, preconditioner=preconditioner)

    @classmethod
    def best_rotated_for(cls, *, task: Any, steps: int) -> "GradientDescent":
        """The one matrix βI + ωJ that is best if it is applied `steps` times; Γ, which here is no preconditioner.

        Raises:
            NotKnown: as `best_free_for`, or the inputs are not Gaussian.
        """
        basis = own_basis(task)
        if task.inputs != "gaussian":
            raise NotKnown(f"the best rotation is known for inputs=gaussian, not {task.inputs}")
        T = basis.mixing
        A = best_rotation(task.n_context, task.dim, steps)
        return cls(step_size=1.0, steps=steps, preconditioner=torch.linalg.solve(T.T, torch.linalg.solve(T.T, A.T).T))

    def __call__(self, prompt: Prompt, *, steps: int | None = None) -> Float[Tensor, "T #M B *out"]:
        x, y, x_query = prompt.x, prompt.y, prompt.x_query
        w = zero_weights(x, y)
        if self.w_init is not None:
            w = w + self.w_init.to(w)
        trajectory = [w]
        for step_size, preconditioner in self._constants(self.steps if steps is None else steps):
            grad = collect(x, read(x, w) - y) / max(x.shape[2], 1)
            if preconditioner is not None:
                grad = torch.einsum("de,mbe...->mbd...", preconditioner.to(grad), grad)
            w = w - step_size * grad
            trajectory.append(w)
        return torch.stack([answer(w, x_query, self.returns) for w in trajectory])

    def every_prefix(
        self, x: Float[Tensor, "#M B P D"], y: Float[Tensor, "#M B P"]
    ) -> Float[Tensor, "T #M B P *answer"]:
        """Entry i is the guess of y_i from the pairs before i; all prefixes make their steps at once."""
        product, b = mean_products(x, y)
        w = torch.zeros_like(b) if self.w_init is None else self.w_init.to(b).expand_as(b)
        trajectory = [w]
        for step_size, preconditioner in self._constants(self.steps):
            grad = product(w) - b
            if preconditioner is not None:
                grad = grad @ preconditioner.T.to(grad)
            w = w - step_size * grad
            trajectory.append(w)
        return torch.stack(trajectory if self.returns == "weights" else [guesses(w, x) for w in trajectory])

    def _constants(self, steps: int) -> list[tuple[float, Tensor | None]]:
        sizes = each_step("step_size", self.step_size, steps)
        if self.preconditioner is None:
            return [(size, None) for size in sizes]
        return list(zip(sizes, each_step("preconditioner", self.preconditioner, steps)))
