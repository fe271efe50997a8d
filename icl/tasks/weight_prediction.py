"""In-context weight prediction: the answer is the weight vector of the prompt's own linear function, not a label.

References:
    Huang, Wang, Lee 2025, Transformers learn to implement multi-step gradient descent with chain of thought,
    arXiv:2502.21212
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from icl.core import Sample
from icl.rng import Draw
from icl.tasks.linear_regression import LinearRegression
from icl.tasks.linear_regression_theory import NotKnown
from icl.theory.gradient_descent import gradient_descent_mse_per_dim, unstable_share


@dataclass(frozen=True, kw_only=True)
class WeightPrediction:
    """The prompts of `LinearRegression` with Gaussian inputs and no noise; the target is w* itself, "#M B D".

        x ~ N(0, Σ),   Σ = input_scale² U diag(spectrum) Uᵀ,   w* ~ N(0, weight_scale² I),   yᵢ = ⟨w*, xᵢ⟩

    Losses are ½ E |ŵ − w*|², not weighted with Σ as the loss of a label would be. The query of a prompt is drawn
    and plays no part. Algorithms made `best_for` this task answer with weights (`returns`). Labels are single numbers
    (`n_outputs`), as other models ask.
    """

    dim: int
    n_context: int
    input_scale: float = 1.0
    covariance_spectrum: Sequence[float] | None = None
    rotation_seed: int | None = None
    weight_scale: float = 1.0
    n_outputs: None = None
    returns: ClassVar[str] = "weights"
    noise_std: ClassVar[float] = 0.0
    n_distractors: ClassVar[int] = 0
    target: ClassVar[str] = "linear"

    def __post_init__(self) -> None:
        _ = self.regression

    @cached_property
    def regression(self) -> LinearRegression:
        """Where the prompts come from."""
        return LinearRegression(
            dim=self.dim, n_context=self.n_context, input_scale=self.input_scale, rotation_seed=self.rotation_seed,
            covariance_spectrum=self.covariance_spectrum, weight_scale=self.weight_scale,
        )  # fmt: skip

    def sample(self, batch_size: int, draw: Draw) -> Sample:
        """The prompts that linear regression makes of the same draw, with another target."""
        sample = self.regression.sample(batch_size, draw)
        if sample.w_star is None:
            raise RuntimeError("linear targets have weights")
        return Sample(sample.prompt, sample.w_star, sample.w_star)

    def covariance_matrix(self) -> Float[Tensor, "D D"]:
        """Σ = E x xᵀ, float64."""
        return self.regression.covariance_matrix()

    def w_covariance_matrix(self) -> Float[Tensor, "D D"]:
        """E w* w*ᵀ, float64."""
        return self.regression.w_covariance_matrix()

    def best_preconditioner(self) -> Float[Tensor, "D D"]:
        """Γ* = ((n+1) Σ + tr Σ I)⁻¹ of the best ŵ = Γ Σᵢ yᵢ xᵢ: the same as for labels, whatever the query's law."""
        return self.regression.best_preconditioner()

    def best_step_size(self) -> float:
        """η* of the best ŵ = (η/N) Σᵢ yᵢ xᵢ. Raises NotKnown unless Σ is a multiple of I."""
        return self.regression.best_step_size()

    def best_one_step_half_mse(self) -> float:
        """½ s² (D − n tr Γ* Σ), s = `weight_scale`: the optimum without thoughts; Σ = I: ½ s² d (d+1)/(n+d+1)."""
        explained = self.n_context * (self.best_preconditioner() @ self.covariance_matrix()).trace().item()
        return 0.5 * self.weight_scale**2 * (self.dim - explained)

    def zero_half_mse(self) -> float:
        """½ E |w*|²."""
        return 0.5 * self.weight_scale**2 * self.dim

    def bayes_half_mse(self) -> float:
        """Least squares of least norm: ½ s² max(0, D − N). Raises NotKnown for N < D unless Σ is a multiple of I."""
        if self.n_context < self.dim:
            self._need_isotropic()
        return 0.5 * self.weight_scale**2 * max(0, self.dim - self.n_context)

    def known_half_mse(self) -> dict[str, float]:
        """Every exact loss that is known, by name."""
        known = {"zero": self.zero_half_mse(), "best_one_step": self.best_one_step_half_mse()}
        if self.n_context >= self.dim or self.covariance_spectrum is None:
            known["bayes"] = self.bayes_half_mse()
        return known

    def gradient_descent_half_mse(self, step_size: float, steps: int) -> float:
        """½ s² E tr (I − η S/N)^(2k): the error of k equal steps, exact. Raises NotKnown unless Σ is a multiple of I.

        The mean is carried by rare prompts once η is large: see `unstable_share`.
        """
        self._need_isotropic()
        relative = step_size * self.input_scale**2
        mse = gradient_descent_mse_per_dim(relative, steps, n_context=self.n_context, dim=self.dim)
        return 0.5 * self.weight_scale**2 * self.dim * mse

    def unstable_share(self, step_size: float, *, n_prompts: int = 100_000) -> float:
        """The share of prompts with λ_max(S/N) > 2/η, where gradient descent diverges; any Σ, from a fixed sample."""
        return unstable_share(
            step_size, n_context=self.n_context, mixing=self.regression.mixing(),
            draw=Draw([0], "unstable", dtype=torch.float64), n_prompts=n_prompts,
        )  # fmt: skip

    def _need_isotropic(self) -> None:
        if self.covariance_spectrum is not None:
            raise NotKnown("no closed form is known for this task; it needs covariance_spectrum=null")
