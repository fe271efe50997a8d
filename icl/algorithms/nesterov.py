"""Nesterov's accelerated gradient descent.

References:
    Nesterov 1983, A method of solving a convex programming problem with convergence rate O(1/k²)
    Su, Boyd, Candès 2014, A differential equation for modeling Nesterov's accelerated gradient method, arXiv:1503.01243
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor

from icl.algorithms.first_order import FirstOrder
from icl.algorithms.steps import each_step


@dataclass(frozen=True, kw_only=True)
class Nesterov(FirstOrder):
    """w_{t+1} = v_t − η ∇L(v_t),   v_{t+1} = w_{t+1} + μ_t (w_{t+1} − w_t),   L as in `Momentum`,   w_0 = v_0 = 0

    The gradient is taken where momentum leads, not where the heavy ball is. μ_t is `momentum`, or t/(t + 3) if that
    is None, which needs no knowledge of the curvature. The trajectory is ⟨w_t, x_query⟩, t = 0..steps.
    """

    step_size: float
    momentum: float | None = None
    steps: int = 1

    def __post_init__(self) -> None:
        each_step("step_size", self.step_size, self.steps)
        if self.momentum is not None and not 0 <= self.momentum < 1:
            raise ValueError(f"momentum={self.momentum} must be in [0, 1), or null for t/(t + 3)")

    def iterates(self, gradient: Callable[[Tensor], Tensor], w: Tensor, steps: int) -> Iterator[Tensor]:
        ahead = w
        yield w
        for t, step_size in enumerate(each_step("step_size", self.step_size, steps)):
            before, w = w, ahead - step_size * gradient(ahead)
            momentum = t / (t + 3) if self.momentum is None else self.momentum
            ahead = w + momentum * (w - before)
            yield w
