"""Iterative Newton (Newton–Schulz) inversion of the Gram matrix.

References:
    Fu, Chen, Jia, Sharan 2023, Transformers learn to achieve second-order convergence rates, arXiv:2310.17086
    Schulz 1933; Ben-Israel 1965.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from icl.algorithms.moments import FromMoments, matvec


@dataclass(frozen=True, kw_only=True)
class IterativeNewton(FromMoments):
    """w_t = M_{t−1} b with A = Σ xᵢxᵢᵀ, b = Σ yᵢxᵢ, and

        M_0 = A / ‖A Aᵀ‖_F,      M_{k+1} = M_k (2I − A M_k).

    An eigenvalue μ of A enters as 1 − (1 − α μ²)^(2^k), α = 1/‖A Aᵀ‖_F: the degree doubles with every step, where
    gradient descent gains one. Step 0 is the guess 0, step 1 is w = M_0 b (the source's k = 0).
    """

    steps: int = 8

    def weights(
        self, A: Float[Tensor, "*batch D D"], b: Float[Tensor, "*batch D"], n: Float[Tensor, "*batch"], steps: int
    ) -> Float[Tensor, "T *batch D"]:
        norm = torch.linalg.matrix_norm(A @ A.mT).clamp(min=torch.finfo(A.dtype).tiny)
        M = A.mT / norm[..., None, None]
        twice = 2 * torch.eye(A.shape[-1]).to(A)
        trajectory = [torch.zeros_like(b)]
        for step in range(steps):
            if step:
                M = M @ (twice - A @ M)
            trajectory.append(matvec(M, b))
        return torch.stack(trajectory)
