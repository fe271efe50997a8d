"""The loss that the inputs of the context alone decide: the weights of the task and the query are integrated out.

For linear targets without noise a layer with preconditioner η multiplies the error of the weights by I − ηᵀ S,
S = XᵀX/N. After all layers it is R w, and over w ~ N(0, Λ) and the query's covariance Σ the mean squared error is
tr Σ R Λ Rᵀ. It has the same mean as the loss on a sampled query and far less variance, and it needs no labels.

References:
    Ahn et al. 2023, arXiv:2306.00297; Gatmiry et al. 2024, arXiv:2410.08292
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from icl.constants import there
from icl.core import Sample
from icl.models.columns import gram, product, times
from icl.objectives.units import Unit, in_unit


@dataclass(frozen=True, kw_only=True)
class Residual:
    """mean over prompts of tr Σ R Λ Rᵀ, R = Π_l (I − η_lᵀ S), for a model with `step_matrices`.

    Raises:
        ValueError: the task is not linear regression without noise, or the model moves its inputs.
    """

    task: Any
    unit: Unit = "half_mse"
    needs_sample: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_law(self.task)

    def __call__(self, model: Any, sample: Sample) -> Float[Tensor, "M"]:
        x = sample.prompt.x.permute(0, 3, 2, 1)
        R = residual(step_matrices(model), gram(x) / max(x.shape[2], 1), n_layers=model.n_layers)
        query_root, w_root = (there(root, R.device, R.dtype) for root in self._roots)
        R = torch.einsum("di,mdeb,ej->mijb", query_root, R, w_root)
        return in_unit(R.square().sum((1, 2)).mean(-1), self.unit)

    @cached_property
    def _roots(self) -> tuple[Float[Tensor, "D D"], Float[Tensor, "D D"]]:
        """C of Σ = C Cᵀ and of Λ = C Cᵀ."""
        return self.task.mixing(), torch.linalg.cholesky(self.task.w_covariance_matrix())


def check_law(task: Any) -> None:
    """ValueError unless labels are ⟨w, x⟩ and nothing else."""
    needed = {"target": "linear", "noise_std": 0, "n_distractors": 0, "n_outputs": None, "n_active": None}
    for name, value in needed.items():
        if getattr(task, name, "missing") != value:
            raise ValueError(f"task.{name}={getattr(task, name, 'missing')} must be {value}: w is integrated out")


def step_matrices(model: Any) -> Float[Tensor, "M L D D"]:
    """η_l of every layer.

    Raises:
        ValueError: the model is no stack of preconditioned steps, or an x-update moves its inputs.
    """
    if not hasattr(model, "step_matrices") or getattr(model, "x_update", False):
        raise ValueError(f"{type(model).__name__} must be preconditioned attention with x_update=false")
    return model.step_matrices()


def residual(
    steps: Float[Tensor, "#M L D D"], S: Float[Tensor, "#M D D B"], *, n_layers: int
) -> Float[Tensor, "M D D B"]:
    """R = (I − η_{L−1}ᵀ S) .. (I − η_0ᵀ S); a tied stack by squaring."""
    identity = torch.eye(S.shape[1], device=S.device, dtype=S.dtype)[None, :, :, None]
    if steps.shape[1] == 1:
        return power(identity - times(steps[:, 0].mT, S), n_layers)
    R = identity - times(steps[:, 0].mT, S)
    for l in range(1, n_layers):
        R = R - times(steps[:, l].mT, product(S, R))
    return R


def power(R: Float[Tensor, "M D D B"], exponent: int) -> Float[Tensor, "M D D B"]:
    """Rᵏ, k ≥ 1."""
    if exponent == 1:
        return R
    half = power(R, exponent // 2)
    squared = product(half, half)
    return product(squared, R) if exponent % 2 else squared
