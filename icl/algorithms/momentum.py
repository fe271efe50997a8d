"""Gradient descent with momentum: Polyak's heavy ball.

References:
    Polyak 1964, Some methods of speeding up the convergence of iteration methods
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from icl.algorithms.first_order import FirstOrder
from icl.algorithms.steps import each_step


@dataclass(frozen=True, kw_only=True)
class Momentum(FirstOrder):
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

    def iterates(self, gradient: Callable[[Tensor], Tensor], w: Tensor, steps: int) -> Iterator[Tensor]:
        velocity = torch.zeros_like(w)
        yield w
        for step_size in each_step("step_size", self.step_size, steps):
            velocity = self.momentum * velocity + gradient(w)
            w = w - step_size * velocity
            yield w
