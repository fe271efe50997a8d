"""Gradient descent with momentum: Polyak's heavy ball.

References:
    Polyak 1964, Some methods of speeding up the convergence of iteration methods
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from icl.algorithms.steps import each_step, guess
from icl.core import Prompt


@dataclass(frozen=True, kw_only=True)
class Momentum:
    """w_{t+1} = w_t − η v_t,   v_t = μ v_{t−1} + ∇L(w_t),   L(w) = 1/(2N) Σᵢ (⟨w, xᵢ⟩ − yᵢ)²,   w_0 = v_{−1} = 0

    η is `step_size`, μ `momentum` in [0, 1); μ = 0 is gradient descent. The trajectory is ⟨w_t, x_query⟩, t = 0..steps.
    """

    step_size: float
    momentum: float = 0.9
    steps: int = 1

    def __post_init__(self) -> None:
        each_step("step_size", self.step_size, self.steps)
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum={self.momentum} must be in [0, 1)")

    def __call__(self, prompt: Prompt, *, steps: int | None = None) -> Float[Tensor, "T #M B *out"]:
        x, y, x_query = prompt.x, prompt.y, prompt.x_query
        w = x.new_zeros(*x_query.shape, *y.shape[3:])
        velocity, trajectory = torch.zeros_like(w), [guess(w, x_query)]
        for step_size in each_step("step_size", self.step_size, self.steps if steps is None else steps):
            residual = torch.einsum("mbnd,mbd...->mbn...", x, w) - y
            velocity = self.momentum * velocity + torch.einsum("mbnd,mbn...->mbd...", x, residual) / max(x.shape[2], 1)
            w = w - step_size * velocity
            trajectory.append(guess(w, x_query))
        return torch.stack(trajectory)
