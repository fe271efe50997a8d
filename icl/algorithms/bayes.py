"""The Bayes predictor of linear regression with a Gaussian prior: none has a smaller mean squared error.

References:
    Mahankali, Hashimoto, Ma 2023, One step of gradient descent is provably optimal, arXiv:2307.03576
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from icl.algorithms.least_squares import least_squares_weights, prefix_by_prefix
from icl.algorithms.prefixes import least_squares_guesses, ridge_guesses
from icl.algorithms.ridge import ridge_weights
from icl.algorithms.steps import Returns, asked_for, at_once, check_returns, one_answer
from icl.core import Prompt, every_prefix


@dataclass(frozen=True, kw_only=True)
class Bayes:
    """ŷ = E[⟨w, x_query⟩ | context] for yᵢ = ⟨w, xᵢ⟩ + σ εᵢ, w ~ N(0, Λ), ε ~ N(0, 1). Entry 0 is 0.

        E[w | context] = (S + σ² Λ⁻¹)⁻¹ Σᵢ yᵢ xᵢ,      S = Σᵢ xᵢ xᵢᵀ

    σ is `noise_std`, Λ `w_covariance`, None for I. In coordinates with prior I this is ridge regression with
    λ = σ², without noise least squares of minimal norm, and so it is computed. With `returns="weights"` the
    answer is E[w | context] itself.
    """

    noise_std: float
    w_covariance: Float[Tensor, "D D"] | None = None
    returns: Returns = "prediction"

    def __post_init__(self) -> None:
        check_returns(self.returns)
        if not (self.noise_std >= 0 and math.isfinite(self.noise_std)):
            raise ValueError(f"noise_std={self.noise_std} must be >= 0 and finite")
        if self.w_covariance is not None and torch.linalg.cholesky_ex(self.w_covariance).info != 0:
            raise ValueError("w_covariance must be positive definite")

    @classmethod
    def best_for(cls, *, task: Any) -> "Bayes":
        """For a task with linear targets and Gaussian noise.

        Raises:
            ValueError: the task's targets are no such thing.
        """
        if task.target != "linear" or task.n_distractors > 0:
            raise ValueError(f"target={task.target}, n_distractors={task.n_distractors} must be linear and 0 for bayes")
        if getattr(task, "n_nonzero", None) is not None:
            raise ValueError(f"n_nonzero={task.n_nonzero} must be null for bayes: its prior is Gaussian")
        return cls(noise_std=task.noise_std, w_covariance=task.w_covariance_matrix(), returns=asked_for(task))

    def __call__(self, prompt: Prompt, *, steps: int | None = None) -> Float[Tensor, "T #M B *out"]:
        x, y = prompt.x.double(), prompt.y.double()
        root = self._root(x)
        if self.noise_std > 0:
            v = ridge_weights(x @ root, y, self.noise_std**2)
        else:
            v = least_squares_weights(x @ root, y)
        w = torch.einsum("de,mbe...->mbd...", root, v)
        return at_once(w.to(prompt.x), prompt.x_query, steps, self.returns)

    def every_prefix(
        self, x: Float[Tensor, "#M B P D"], y: Float[Tensor, "#M B P"]
    ) -> Float[Tensor, "T #M B P *answer"]:
        """Entry i is the guess of y_i from the pairs before i, from one factor of all pairs, in float64.

        Weights are asked for prefix by prefix.
        """
        if self.returns == "weights":
            return every_prefix(lambda prompt: self(prompt), x, y)
        features, labels = x.double() @ self._root(x.double()), y.double()
        if self.noise_std > 0:
            found = ridge_guesses(features, labels, self.noise_std**2)
        else:
            found = least_squares_guesses(features, labels, prefix_by_prefix)
        return one_answer(found.to(x), None)

    def _root(self, x: Tensor) -> Float[Tensor, "D D"]:
        """w = root v,  v ~ N(0, I)."""
        if self.w_covariance is None:
            return torch.eye(x.shape[-1]).to(x)
        return torch.linalg.cholesky(self.w_covariance.to(x))
