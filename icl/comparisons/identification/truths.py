"""Algorithms that are asked as if they were models, with noise: what identification must name, because it is known.

They come from icl/algorithms, which share no code with the candidates that are fitted to them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from icl.algorithms.averaging import Averaging
from icl.algorithms.chebyshev import Chebyshev
from icl.algorithms.conjugate_gradient import ConjugateGradient
from icl.algorithms.decision_tree import DecisionTree
from icl.algorithms.gradient_boosting import GradientBoosting
from icl.algorithms.gradient_descent import GradientDescent
from icl.algorithms.gradient_descent_plus_plus import GradientDescentPlusPlus
from icl.algorithms.iterative_newton import IterativeNewton
from icl.algorithms.kernel_regression import KernelRegression
from icl.algorithms.lasso import Lasso
from icl.algorithms.least_squares import LeastSquares
from icl.algorithms.line_search_descent import LineSearchDescent
from icl.algorithms.momentum import Momentum
from icl.algorithms.nearest_neighbours import NearestNeighbours
from icl.algorithms.nesterov import Nesterov
from icl.algorithms.neural_network import NeuralNetwork
from icl.algorithms.ridge import Ridge
from icl.core import Prompt
from icl.rng import Draw


@dataclass(frozen=True)
class Says0:
    """The predictor without an algorithm."""

    def __call__(self, prompt: Prompt, *, steps: int | None = None) -> Float[Tensor, "T #M B"]:
        return torch.zeros(2, *prompt.x_query.shape[:2]).to(prompt.x)


def one_of(draw: Draw, choices: Sequence[Any]) -> Any:
    """Uniformly."""
    return choices[int(draw.integers(len(choices), 1).item())]


def between(draw: Draw, low: float, high: float) -> float:
    """Uniformly."""
    return low + (high - low) * draw.uniform(1).item()


def preconditioned(d: Draw, dim: int) -> GradientDescent:
    """Γ away from every multiple of I."""
    lopsided = torch.eye(dim).double() + 0.4 * d.normal(dim, dim)[0].double().tril(-1)
    gamma = between(d, 0.3, 0.6) * torch.linspace(1.4, 0.6, dim).double()[:, None] * lopsided
    return GradientDescent(step_size=1.0, steps=one_of(d, (1, 2)), preconditioner=gamma)


# For inputs of unit variance; in ranges where the algorithm is neither converged nor another one.
TRUTHS: dict[str, Callable[[Draw, int], Any]] = {
    "zero": lambda d, dim: Says0(),
    "averaging": lambda d, dim: Averaging(),
    "least_squares": lambda d, dim: LeastSquares(),
    "ridge": lambda d, dim: Ridge(ridge=between(d, 1.0, 10.0)),
    "gradient_descent": lambda d, dim: GradientDescent(step_size=between(d, 0.2, 0.7), steps=one_of(d, range(1, 7))),
    "iterative_newton": lambda d, dim: IterativeNewton(steps=one_of(d, range(2, 7))),
    "momentum": lambda d, dim: Momentum(
        step_size=between(d, 0.2, 0.5), momentum=between(d, 0.75, 0.9), steps=one_of(d, range(4, 8))
    ),
    "nesterov": lambda d, dim: Nesterov(
        step_size=between(d, 0.2, 0.5), momentum=between(d, 0.75, 0.9), steps=one_of(d, range(4, 8))
    ),
    "gradient_descent_plus_plus": lambda d, dim: GradientDescentPlusPlus(
        step_size=between(d, 0.4, 0.9), curvature_step_size=between(d, 0.08, 0.2), steps=one_of(d, (2, 3))
    ),
    "chebyshev": lambda d, dim: Chebyshev(
        low=between(d, 0.05, 0.3), high=between(d, 1.8, 3.0), steps=one_of(d, (3, 4, 5))
    ),
    "conjugate_gradient": lambda d, dim: ConjugateGradient(steps=one_of(d, range(1, max(dim - 1, 2)))),
    "exact_line_search": lambda d, dim: LineSearchDescent(rule="exact", steps=one_of(d, (2, 3, 4))),
    "polyak_steps": lambda d, dim: LineSearchDescent(rule="polyak", steps=one_of(d, (1, 2, 3))),
    "armijo_steps": lambda d, dim: LineSearchDescent(rule="armijo", steps=one_of(d, (2, 3, 4))),
    "preconditioned_gradient_descent": preconditioned,
    "nearest_neighbours": lambda d, dim: NearestNeighbours(k=one_of(d, (1, 2, 3, 4, 5, 8))),
    "kernel_regression": lambda d, dim: KernelRegression(bandwidth=between(d, 0.6, 1.6)),
    "lasso": lambda d, dim: Lasso(alpha=one_of(d, (0.3, 0.1))),
    "decision_tree": lambda d, dim: DecisionTree(max_depth=4),
    "gradient_boosting": lambda d, dim: GradientBoosting(),
    "neural_network": lambda d, dim: NeuralNetwork(steps=one_of(d, (100, 300))),
}


@dataclass(frozen=True)
class Noisy:
    """Algorithms side by side as one bank, at every level of noise; each guess has its own, a function of the prompts.

    Members are all algorithms at the first level, then all at the second, and so on.
    """

    algorithms: Sequence[Any]
    noise_stds: Sequence[float]
    draw: Draw

    def last(self, prompt: Prompt) -> Float[Tensor, "M B"]:
        """The final guesses. Algorithms that are equal are asked once."""
        asked: list[tuple[Any, Tensor]] = []
        rows = []
        for algorithm in self.algorithms:
            known = next((row for other, row in asked if _same(other, algorithm)), None)
            if known is None:
                known = algorithm(prompt)[-1][0]
                asked.append((algorithm, known))
            rows.append(known)
        clean = torch.stack(rows).repeat(len(self.noise_stds), 1)
        stds = torch.tensor(self.noise_stds, dtype=torch.float64).repeat_interleave(len(rows))[:, None]
        first = prompt.x_query[0, 0, 0].item()  # so that a repeated call repeats
        noise = Draw(range(len(clean)), f"{self.draw.name}/{self.draw.seeds[0]}/{first!r}", dtype=torch.float64)
        return clean + (stds * noise.normal(prompt.x_query.shape[1])).to(clean)


def _same(one: Any, other: Any) -> bool:
    if type(one) is not type(other) or getattr(one, "preconditioner", None) is not None:
        return False
    return one == other
