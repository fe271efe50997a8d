"""What linear regression knows about itself: the best one-step predictor, and exact losses.

The formulas are in `icl.theory`; here they meet the fields of the task. Losses are half_mse on the clean query.
"""

import math
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from icl.constants import there
from icl.tasks.linear_regression_law import LinearRegressionLaw
from icl.theory import baselines, one_step
from icl.theory.population_loss import one_layer_half_mse, one_layer_half_mse_general

KURTOSIS = {"gaussian": 3.0, "uniform": 1.8}
# Of f: its degree, f(s z) = s^degree f(z); the best step; whether E f(z)² is D (else 1).
NONLINEAR = {"relu": (1, one_step.relu_optimum, True), "quadratic": (2, one_step.quadratic_optimum, True),
             "sign": (0, one_step.sign_optimum, False)}  # fmt: skip


class NotKnown(ValueError):
    """The task has no closed form for what was asked; the message says which field is in the way."""


class LinearRegressionTheory(LinearRegressionLaw):
    """The answers of `LinearRegression`."""

    def _need(self, **allowed: bool) -> None:
        """NotKnown unless the named conditions hold; distractors, inactive coordinates and shifts are in the way."""
        allowed |= {"n_distractors=0": self.n_distractors == 0, "n_active=null": self.n_active is None,
                    "n_outputs=null": self.n_outputs is None, "shift=null": self.shift is None}  # fmt: skip
        for condition, holds in allowed.items():
            if not holds:
                raise NotKnown(f"no closed form is known for this task; it needs {condition}")

    @property
    def _kurtosis(self) -> float:
        self._need(**{"inputs=gaussian or uniform": self.inputs in KURTOSIS})  # others: dependent coordinates
        return KURTOSIS[self.inputs]

    def _iid(self) -> dict[str, Any]:
        return {"n_context": self.n_context, "dim": self.dim, "x_variance": self.x_variance,
                "kurtosis": self._kurtosis, "w_std": self.w_covariance_matrix()[0, 0].sqrt().item(),
                "noise_std": self.noise_std}  # fmt: skip

    def _nonlinear(self) -> tuple[float, float]:
        """(step size in units of the sum, mse) of the best step for targets that are not linear; x ~ N(0, s² I)."""
        self._need(**{"inputs=gaussian": self.inputs == "gaussian", "covariance_spectrum=null": self.isotropic})
        degree, optimum, _ = NONLINEAR[self.target]
        scale = self.weight_scale * self.input_scale**degree
        found = optimum(n_context=self.n_context, dim=self.dim, noise_std=self.noise_std / scale)
        return found.step_size / self.input_scale**2, scale**2 * found.mse

    def best_preconditioner(self) -> Float[Tensor, "D D"]:
        """Γ* of the best one layer, ŷ = x_qᵀ Γ* Σᵢ yᵢ xᵢ. Raises NotKnown."""
        identity = torch.eye(self.dim, dtype=torch.float64)
        if self.target != "linear":
            return self._nonlinear()[0] * identity
        if self.isotropic:
            self._need()
            return one_step.iid_optimum(**self._iid()).step_size * identity
        self._need(**{"inputs=gaussian": self.inputs == "gaussian"})
        return one_step.optimal_preconditioner(**self._gaussian())

    def best_step_size(self) -> float:
        """η* of the best plain GD step w = (η/N) Σ yᵢ xᵢ: exact where Γ* is a multiple of I. Raises NotKnown."""
        gamma = self.best_preconditioner()
        if not torch.allclose(gamma, gamma[0, 0] * torch.eye(self.dim, dtype=torch.float64), atol=1e-12):
            raise NotKnown("the best step of this task is preconditioned; use best_preconditioner()")
        return self.n_context * gamma[0, 0].item()

    def best_one_step_half_mse(self) -> float:
        """Of Γ*: what one layer of linear attention can reach. Raises NotKnown."""
        if self.target != "linear":
            return self._nonlinear()[1] / 2
        if self.isotropic:
            self._need()
            return one_step.iid_optimum(**self._iid()).mse / 2
        self._need(**{"inputs=gaussian": self.inputs == "gaussian"})
        return one_step.preconditioned_optimum_mse(**self._gaussian()) / 2

    def zero_half_mse(self) -> float:
        """½ E y_query²: of the predictor that says 0. Raises NotKnown."""
        if self.target == "linear":
            self._need()
            return 0.5 * (self.covariance_matrix() @ self.w_covariance_matrix()).trace().item()
        self._nonlinear()  # NotKnown where the moments below do not hold
        degree, _, by_dim = NONLINEAR[self.target]
        return 0.5 * (self.dim if by_dim else 1) * (self.weight_scale * self.input_scale**degree) ** 2

    def bayes_half_mse(self) -> float:
        """The least that any predictor can reach, for isotropic linear targets (Gaussian, or without noise)."""
        self._need(**{"target=linear": self.target == "linear", "an isotropic law": self.isotropic,
                      "n_nonzero=null": self.n_nonzero is None,
                      "inputs=gaussian or noise_std=0": self.inputs == "gaussian" or self.noise_std == 0})  # fmt: skip
        scale = math.sqrt(self.x_variance) * self.weight_scale
        return scale**2 * baselines.bayes_mse(self.n_context, self.dim, self.noise_std / scale) / 2

    def known_half_mse(self) -> dict[str, float]:
        """Every exact loss that is known, by name: of the query, so none for a target at every position."""
        if self.positions == "every":
            return {}
        answers = {
            "zero": self.zero_half_mse,
            "best_one_step": self.best_one_step_half_mse,
            "bayes": self.bayes_half_mse,
        }
        known = {}
        for name, answer in answers.items():
            try:
                known[name] = float(answer())
            except NotKnown:
                continue
        return known

    # ---- any one-layer weights
    def check_population_loss(self) -> None:
        """Raises NotKnown unless `one_layer_half_mse` is defined."""
        self._need(**{"target=linear": self.target == "linear", "inputs=gaussian or uniform": self.inputs in KURTOSIS,
                      "n_nonzero=null": self.n_nonzero is None})  # fmt: skip

    def one_layer_half_mse(
        self, P_row: Float[Tensor, "M D1"], Q: Float[Tensor, "M D1 D1"], *, normalize: bool
    ) -> Float[Tensor, "M"]:
        """Exact loss of one layer of linear attention, differentiable; `P_row`: the last row of P. Raises NotKnown."""
        self.check_population_loss()
        if self.isotropic:
            return one_layer_half_mse(P_row, Q, normalize=normalize, **self._law_of_coordinates)
        mixing, w_covariance = (there(matrix, Q.device, Q.dtype) for matrix in self._law)
        return one_layer_half_mse_general(
            P_row,
            Q,
            n_context=self.n_context,
            normalize=normalize,
            mixing=mixing,
            w_covariance=w_covariance,
            kurtosis=self._kurtosis,
            noise_std=self.noise_std,
        )

    @cached_property
    def _law_of_coordinates(self) -> dict[str, Any]:
        return {key: value for key, value in self._iid().items() if key != "dim"}  # Q has it

    @cached_property
    def _law(self) -> tuple[Float[Tensor, "D D"], Float[Tensor, "D D"]]:
        return self.mixing(), self.w_covariance_matrix()

    def _gaussian(self) -> dict[str, Any]:
        return {"n_context": self.n_context, "covariance": self.covariance_matrix(),
                "w_covariance": self.w_covariance_matrix(), "noise_std": self.noise_std}  # fmt: skip
