"""The spectrum on which the many-step algorithms of a task are best: that of its inputs in their own basis.

With x = T z, E z zᵀ = I, and w = T⁻ᵀ v a prompt is the isotropic problem y = ⟨v, z⟩. Steps of size β in z are steps
w ← w + β Σ⁻¹ (1/N) Σᵢ rᵢ xᵢ in x, Σ = T Tᵀ, and their loss is an integral over the spectrum of (1/N) Σᵢ zᵢ zᵢᵀ.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from icl.rng import Draw
from icl.tasks.linear_regression_theory import NotKnown
from icl.theory.spectrum import Spectrum, sampled_spectrum, wishart_spectrum

N_SAMPLED = 30_000  # contexts, where the spectrum has no closed form


@dataclass(frozen=True, kw_only=True)
class OwnBasis:
    """What z = T⁻¹ x makes of a task: `variance` of each v, and the spectrum, exact or sampled.

    `fresh` is a second, independent sample to judge what was fitted on the first; None if the spectrum is exact.
    """

    spectrum: Spectrum
    fresh: Spectrum | None
    mixing: Float[Tensor, "D D"]  # T
    variance: float

    def steps(self, sizes: list[float]) -> tuple[list[float], Float[Tensor, "D D"] | None]:
        """Steps β of the basis as (η, Γ) of the inputs as given: (β, Σ⁻¹), or (β / s², None) if Σ = s² I."""
        covariance = self.mixing @ self.mixing.T
        scale = covariance[0, 0]
        if torch.allclose(covariance, scale * torch.eye(len(covariance)).to(covariance), rtol=1e-12, atol=1e-12):
            return [size / scale.item() for size in sizes], None
        return sizes, torch.linalg.inv(covariance)


def mixing_of(task: Any) -> Float[Tensor, "D D"]:
    """T of a task of linear regression, float64.

    Raises:
        NotKnown: in no basis are inputs and weights isotropic at once, or the labels are no ⟨w, x⟩.
    """
    conditions = {"target=linear": task.target == "linear", "noise_std=0": task.noise_std == 0,
                  "n_distractors=0": task.n_distractors == 0, "n_active=null": task.n_active is None,
                  "shift=null": getattr(task, "shift", None) is None}  # fmt: skip
    T = task.mixing()
    v_covariance = T.T @ task.w_covariance_matrix() @ T
    identity = v_covariance.diagonal().mean() * torch.eye(task.dim).to(T)
    conditions["w ~ N(0, c Σ⁻¹)"] = torch.allclose(v_covariance, identity, rtol=1e-9, atol=1e-12)
    for condition, holds in conditions.items():
        if not holds:
            raise NotKnown(f"the best steps are not known for this task; they need {condition}")
    return T


def own_basis(task: Any) -> OwnBasis:
    """Exact for Gaussian inputs, else from sampled contexts that are the same at every call. Raises NotKnown."""
    T = mixing_of(task)
    variance = (T.T @ task.w_covariance_matrix() @ T).trace().item() / task.dim
    if task.inputs == "gaussian":
        spectrum, fresh = wishart_spectrum(task.n_context, task.dim), None
    else:
        spectrum, fresh = (_sampled(task, T, which) for which in (0, 1))
    return OwnBasis(spectrum=spectrum, fresh=fresh, mixing=T, variance=variance)


def _sampled(task: Any, T: Float[Tensor, "D D"], which: int) -> Spectrum:
    draw = Draw([0], "spectra", step=which, dtype=torch.float64)
    x = task.sample(N_SAMPLED, draw).prompt.x[0]
    return sampled_spectrum(torch.linalg.solve(T, x.mT).mT)
