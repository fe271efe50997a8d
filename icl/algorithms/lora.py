"""Fine-tuning a linear map by low-rank adapters, on the context of a prompt: LoRA from its usual start.

References:
    Hu et al. 2021, LoRA: low-rank adaptation of large language models, arXiv:2106.09685
    Zhang, Liu, Chen 2025, LoRA-One: one-step full gradient could suffice for fine-tuning, arXiv:2502.01235
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from icl.core import Prompt
from icl.rng import Draw

Adapters = tuple[Float[Tensor, "T M B D R"], Float[Tensor, "T M B R O"]]


@dataclass(frozen=True, kw_only=True)
class Lora:
    """Gradient descent on the two factors of the shift of a linear map W_0, which is 0 here: only the shift enters.

        L(A, B) = 1/(2N) Σᵢ |(A B)ᵀ xᵢ − yᵢ|²,    A ← A − η ∂L/∂A,  B ← B − η ∂L/∂B together

    A is (D, R), its first values N(0, `init_scale`²), the same for every prompt; B is (R, O) and begins at 0. The
    trajectory is (A_t B_t)ᵀ x_query; entry 0 is zero. With a single label O = 1.
    """

    rank: int
    step_size: float
    steps: int
    init_scale: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        check_adapters(self.rank, self.step_size, self.steps)
        if not (self.init_scale > 0 and math.isfinite(self.init_scale)):
            raise ValueError(f"init_scale={self.init_scale} must be > 0: with both factors 0 nothing would move")

    def __call__(self, prompt: Prompt, *, steps: int | None = None) -> Float[Tensor, "T #M B *out"]:
        return guesses(self.adapters(prompt, steps=steps), prompt)

    def adapters(self, prompt: Prompt, *, steps: int | None = None) -> Adapters:
        """(A_t, B_t) for t = 0..steps."""
        C, XY = moments(prompt)
        shape = (*XY.shape[:2], XY.shape[2], self.rank)
        start = Draw([self.seed], "lora", device=XY.device, dtype=XY.dtype).normal(XY.shape[2], self.rank)[0]
        A = (self.init_scale * start).expand(shape)
        B = XY.new_zeros(*XY.shape[:2], self.rank, XY.shape[3])
        return descend(A, B, C, XY, step_size=self.step_size, steps=self.steps if steps is None else steps)


def check_adapters(rank: int, step_size: float, steps: int) -> None:
    if rank < 1 or steps < 0:
        raise ValueError(f"rank={rank} must be >= 1 and steps={steps} >= 0")
    if not (step_size > 0 and math.isfinite(step_size)):
        raise ValueError(f"step_size={step_size} must be a finite number > 0")


def moments(prompt: Prompt) -> tuple[Float[Tensor, "M B D D"], Float[Tensor, "M B D O"]]:
    """C = XᵀX/N and XᵀY/N; the gradient at W_0 = 0 is G = −XᵀY/N."""
    n = max(prompt.x.shape[2], 1)
    y = prompt.y[..., None] if prompt.y.ndim == 3 else prompt.y
    return prompt.x.mT @ prompt.x / n, prompt.x.mT @ y / n


def descend(A: Tensor, B: Tensor, C: Tensor, XY: Tensor, *, step_size: float, steps: int) -> Adapters:
    """`steps` joint gradient steps; ∂L/∂(AB) = C A B − XᵀY/N."""
    path = [(A, B)]
    for _ in range(steps):
        G = C @ A @ B - XY
        A, B = A - step_size * G @ B.mT, B - step_size * A.mT @ G
        path.append((A, B))
    return torch.stack([a for a, _ in path]), torch.stack([b for _, b in path])


def guesses(adapters: Adapters, prompt: Prompt) -> Float[Tensor, "T #M B *out"]:
    A, B = adapters
    guess = torch.einsum("mbd,tmbdr,tmbro->tmbo", prompt.x_query, A, B)
    return guess[..., 0] if prompt.y.ndim == 3 else guess
