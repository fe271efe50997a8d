"""Low-rank adapters that begin at the best low-rank piece of the first full gradient: LoRA-One.

References:
    Zhang, Liu, Chen 2025, LoRA-One: one-step full gradient could suffice for fine-tuning, arXiv:2502.01235
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from icl.algorithms.lora import Adapters, check_adapters, descend, guesses, moments
from icl.core import Prompt


@dataclass(frozen=True, kw_only=True)
class LoraOne:
    """As `Lora`, from −G = U S Vᵀ:  A = √s U_r √S_r,  B = √s √S_r V_rᵀ with s = `spectral_step`, so A B = −s G_r.

    Entry 0 of the trajectory is zero, W_0; entry 1 is the spectral start, one full gradient step of size s cut to rank
    r; entry t + 1 is after t steps on the factors.
    """

    rank: int
    step_size: float
    steps: int
    spectral_step: float = 1.0

    def __post_init__(self) -> None:
        check_adapters(self.rank, self.step_size, self.steps)
        if not self.spectral_step > 0:
            raise ValueError(f"spectral_step={self.spectral_step} must be > 0")

    def __call__(self, prompt: Prompt, *, steps: int | None = None) -> Float[Tensor, "T #M B *out"]:
        return guesses(self.adapters(prompt, steps=steps), prompt)

    def adapters(self, prompt: Prompt, *, steps: int | None = None) -> Adapters:
        """(A, B) of every entry; both are zero at entry 0."""
        steps = self.steps if steps is None else steps
        C, XY = moments(prompt)
        zero = XY.new_zeros(*XY.shape[:3], self.rank), XY.new_zeros(*XY.shape[:2], self.rank, XY.shape[3])
        if steps == 0:
            return zero[0][None], zero[1][None]
        U, S, V = torch.linalg.svd(XY, full_matrices=False)
        root = torch.zeros_like(zero[0][..., 0, :])
        kept = min(self.rank, S.shape[-1])
        root[..., :kept] = (self.spectral_step * S[..., :kept]).sqrt()
        A, B = zero[0].clone(), zero[1].clone()
        A[..., :kept], B[..., :kept, :] = U[..., :kept], V[..., :kept, :]
        path = descend(A * root[..., None, :], B * root[..., None], C, XY, step_size=self.step_size, steps=steps - 1)
        return torch.cat([zero[0][None], path[0]]), torch.cat([zero[1][None], path[1]])
