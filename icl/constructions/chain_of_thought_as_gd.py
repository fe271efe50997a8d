"""A chain of thought whose thoughts are the iterates of gradient descent.

References:
    Huang, Wang, Lee 2025, Transformers learn to implement multi-step gradient descent with chain of thought,
    arXiv:2502.21212
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def chain_of_thought_as_gd(
    *, dim: int, step_size: float, preconditioner: Float[Tensor, "E E"] | None = None
) -> dict[str, Tensor]:
    """V and W (1, 2D+2, 2D+2), float64, of w_{t+1} = w_t − (η/N) Γ Σᵢ xᵢ (⟨w_t, xᵢ⟩ − yᵢ).

        V31 = −η Γ (x to w),   W13 = I (w to x),   W24 = −1 (flag to y),   all else 0

    W z_t = (w_t, −1, 0, 0), so a pair is read with its residual ⟨w_t, xᵢ⟩ − yᵢ, and a thought, which is 0 in the rows
    of x and y, not at all. V31 and (W13, W24) may be rescaled against each other.

    Raises:
        ValueError: a size, step size or Γ that makes no such layer.
    """
    if dim < 1:
        raise ValueError(f"dim={dim} must be >= 1")
    if not math.isfinite(step_size):
        raise ValueError(f"step_size={step_size} must be finite")
    gamma = torch.eye(dim).double() if preconditioner is None else preconditioner.double()
    if gamma.shape != (dim, dim):
        raise ValueError(f"preconditioner has shape {tuple(gamma.shape)}, dim={dim} needs {(dim, dim)}")
    V, W = torch.zeros(2, 1, 2 * dim + 2, 2 * dim + 2, dtype=torch.float64)
    V[0, dim + 1 : -1, :dim] = -step_size * gamma
    W[0, :dim, dim + 1 : -1] = torch.eye(dim).double()
    W[0, dim, -1] = -1
    return {"V": V, "W": W}
