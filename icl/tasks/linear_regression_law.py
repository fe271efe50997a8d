"""The law of linear regression: what its fields may be, and the moments that they give."""

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from icl.tasks.shifts import Shift, check_shift

VARIANCE = {"gaussian": 1.0, "uniform": 1 / 12}
GAMMA_SHAPE, GAMMA_SCALE = 0.1, 10.0  # of |z|² for inputs=gamma: mean 1, variance 10


class LinearRegressionLaw:
    """Checks and moments of `LinearRegression`, which states the fields."""

    dim: int
    n_context: int
    inputs: Literal["gaussian", "uniform", "gamma"]
    input_scale: float
    covariance_spectrum: Sequence[float] | None
    rotation_seed: int | None
    w_covariance: Any
    weight_scale: float
    noise_std: float
    n_distractors: int
    target: Literal["linear", "sign", "relu", "quadratic"]
    n_hidden: int
    n_outputs: int | None
    n_active: int | None
    n_nonzero: int | None
    positions: Literal["query", "every"]
    shift: Shift | None

    def __post_init__(self) -> None:
        for name, low in (("dim", 1), ("n_context", 1), ("n_hidden", 1), ("n_distractors", 0), ("noise_std", 0),
                          ("input_scale", 0), ("weight_scale", 0)):  # fmt: skip
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= low):
                raise ValueError(f"{name}={value} must be a finite number >= {low}")
        if self.n_distractors > self.n_context:
            raise ValueError(f"n_distractors={self.n_distractors} must be <= n_context={self.n_context}")
        for name in ("n_active", "n_nonzero", "n_outputs"):
            value, high = getattr(self, name), math.inf if name == "n_outputs" else self.dim
            if value is not None and not 1 <= value <= high:
                raise ValueError(f"{name}={value} must be in 1..{high}, or null")
        spectrum = self.covariance_spectrum
        if spectrum is not None and (len(spectrum) != self.dim or not all(0 < e < math.inf for e in spectrum)):
            raise ValueError(
                f"covariance_spectrum={list(spectrum)} must be dim={self.dim} positive numbers "
                "(a positive definite covariance)"
            )
        if self.target != "linear" and (self.w_covariance != "identity" or self.n_outputs is not None):
            raise ValueError(f"target={self.target} takes no w_covariance and no n_outputs (only target=linear does)")
        if self.positions == "every" and self.n_outputs is not None:
            raise ValueError(f"positions=every takes no n_outputs={self.n_outputs} (one label a position)")
        if self.n_nonzero is not None and (
            self.target not in ("linear", "sign") or self.n_outputs is not None or self.w_covariance != "identity"
        ):
            raise ValueError(
                f"n_nonzero={self.n_nonzero} needs target=linear or sign, n_outputs=null and w_covariance=identity"
            )
        check_shift(self)
        self._check_prior()

    def _check_prior(self) -> None:
        if isinstance(self.w_covariance, str):
            if self.w_covariance not in ("identity", "inverse_covariance"):
                raise ValueError(f"w_covariance={self.w_covariance!r} must be identity, inverse_covariance or a matrix")
            return
        rows = torch.tensor([list(row) for row in self.w_covariance], dtype=torch.float64)
        good = rows.shape == (self.dim, self.dim) and torch.equal(rows, rows.T)
        if not good or not (torch.linalg.eigvalsh(rows) > 0).all():
            raise ValueError(f"w_covariance must be a positive definite {self.dim} x {self.dim} matrix")

    # ---- moments
    @property
    def x_variance(self) -> float:
        """Of one coordinate of x before the covariance is applied."""
        variance = GAMMA_SHAPE * GAMMA_SCALE / self.dim if self.inputs == "gamma" else VARIANCE[self.inputs]
        return variance * self.input_scale**2

    def mixing(self) -> Float[Tensor, "D D"]:
        """T with x = T z, z of unit variance."""
        root = torch.eye(self.dim, dtype=torch.float64) if self.covariance_spectrum is None else self._shape_matrix
        return math.sqrt(self.x_variance) * root

    @property
    def _shape_matrix(self) -> Float[Tensor, "D D"]:
        """A with A Aᵀ = U diag(spectrum) Uᵀ; U is a random rotation, or I without `rotation_seed`."""
        scales = torch.tensor(list(self.covariance_spectrum or []), dtype=torch.float64).sqrt().diag()
        if self.rotation_seed is None:
            return scales
        generator = torch.Generator().manual_seed(self.rotation_seed)
        gaussian = torch.randn(self.dim, self.dim, generator=generator, dtype=torch.float64)
        q, r = torch.linalg.qr(gaussian)
        return q * r.diagonal().sign() @ scales  # Haar-distributed: the signs make the decomposition unique

    def covariance_matrix(self) -> Float[Tensor, "D D"]:
        """Σ = E x xᵀ, float64."""
        return self.mixing() @ self.mixing().T

    def w_covariance_matrix(self) -> Float[Tensor, "D D"]:
        """Λ = E w wᵀ, float64; `inverse_covariance` is the inverse of A Aᵀ, without `input_scale`.

        Sparse weights are no Gaussian ones: what is quadratic in w needs Λ alone, the Bayes predictor more.
        """
        if self.w_covariance == "identity" or (
            self.w_covariance == "inverse_covariance" and self.covariance_spectrum is None
        ):
            shape = torch.eye(self.dim, dtype=torch.float64)
        elif self.w_covariance == "inverse_covariance":
            shape = torch.linalg.inv(self._shape_matrix @ self._shape_matrix.T)
        else:
            shape = torch.tensor([list(row) for row in self.w_covariance], dtype=torch.float64)
        if self.n_nonzero is not None:
            shape = shape * self.n_nonzero / self.dim
        return self.weight_scale**2 * shape

    @cached_property
    def isotropic(self) -> bool:
        """Independent coordinates of x, and E w wᵀ = λI."""
        prior = self.w_covariance_matrix()
        return self.covariance_spectrum is None and torch.equal(
            prior, prior[0, 0] * torch.eye(self.dim, device=prior.device, dtype=prior.dtype)
        )
