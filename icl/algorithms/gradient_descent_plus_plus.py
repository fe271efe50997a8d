"""GD++: gradient descent on inputs that each step also makes rounder.

References:
    von Oswald et al. 2022, Transformers learn in-context by gradient descent, arXiv:2212.07677
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from icl.algorithms.spectra import own_basis
from icl.algorithms.steps import each_step, guess
from icl.core import Prompt
from icl.tasks.linear_regression_theory import NotKnown
from icl.theory.plus_plus_steps import best_plus_plus_steps, loss_of

LARGEST_REGRET = 1e-3  # of constants fitted on sampled spectra, against those fitted on the fresh ones


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

    @classmethod
    def best_for(cls, *, task: Any, steps: int = 2, tied: bool = True) -> "GradientDescentPlusPlus":
        """The constants of least loss, the same for every step if `tied`, by a fit on the task's spectrum.

        Where that is sampled, the fit is judged on fresh spectra: a second fit there must gain less than 0.1 %.

        Raises:
            NotKnown: the labels are no ⟨w, x⟩ with w ~ N(0, c I) and x of covariance s² I.
            RuntimeError: the sampled spectra do not decide the constants.
        """
        basis = own_basis(task)
        scale = basis.steps([1.0])
        if scale[1] is not None:
            raise NotKnown("the best GD++ is not known for this task; it needs covariance_spectrum=null")
        constants = best_plus_plus_steps(basis.spectrum, steps, tied=tied)
        if basis.fresh is not None:
            again = best_plus_plus_steps(basis.fresh, steps, tied=tied)
            regret = (loss_of(constants, basis.fresh) / loss_of(again, basis.fresh)).item() - 1
            if regret > LARGEST_REGRET:
                raise RuntimeError(f"GD++ fitted on sampled spectra is {100 * regret:.2g} % off on fresh ones")
        eta, gamma = (constants * scale[0][0]).tolist()
        if tied:
            return cls(step_size=eta[0], curvature_step_size=gamma[0], steps=steps)
        return cls(step_size=eta, curvature_step_size=gamma, steps=steps)

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
