"""Looped layers whose matrix in white coordinates is known."""

import torch

from icl.models.preconditioned_attention import PreconditionedAttention
from icl.rng import Draw
from icl.tasks.linear_regression import LinearRegression

PLAIN = LinearRegression(dim=5, n_context=20)
SKEWED = LinearRegression(
    dim=5, n_context=20, covariance_spectrum=[1.0, 1.0, 0.25, 0.5, 2.0], rotation_seed=0,
    w_covariance="inverse_covariance", weight_scale=0.5,
)  # fmt: skip
DRAW = Draw([0], "comparison", dtype=torch.float64)


def looped(matrices: list[torch.Tensor], task: LinearRegression, n_loops: int = 4, **options):
    """The bank whose matrices in white coordinates are given: η = T⁻ᵀ Aᵀ T⁻¹."""
    model = PreconditionedAttention(
        dim=5, n_layers=n_loops, tied=True, n_seeds=len(matrices), dtype=torch.float64, **options
    )
    inverse = torch.linalg.inv(task.mixing())
    with torch.no_grad():
        model.A.copy_(-torch.stack([inverse.T @ A.T @ inverse for A in matrices])[:, None])
    return model
