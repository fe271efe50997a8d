"""Candidates that iterate in the eigenbasis: the same recursions as icl/algorithms, each O(D) a step."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from icl.algorithms.line_search_descent import LineSearchDescent, Rule
from icl.comparisons.identification.family import InTheEigenbasis, Range, iterated
from icl.comparisons.identification.filters import CONVERGED, LEAST_SQUARES, inverse
from icl.comparisons.identification.slots import Spectra

STEP_SIZE = Range("step_size", 0.02, 3.0, 16, unit=-1)
ACCELERATED = "accelerated gradient descent"  # two open numbers and one step of memory: near each other by nature
ENOUGH = 1e-14  # as in icl/algorithms/conjugate_gradient.py


class Iteration(InTheEigenbasis):
    """w_1, w_2, .. from w_0 = 0."""

    @abstractmethod
    def iterates(self, s: Spectra, *values: Float[Tensor, "G 1 1 1"]) -> Iterator[Float[Tensor, "#G b K D"]]:
        """Without end."""

    def weights(
        self, s: Spectra, steps: Sequence[int], values: Sequence[Float[Tensor, "G 1 1 1"]]
    ) -> Iterator[Float[Tensor, "#G b K D"]]:
        return iterated(steps, self.iterates(s, *values))


@dataclass(frozen=True)
class Momentum(Iteration):
    """w ← w − η v,   v ← μ v + (λ w − b)/n. One step of it is gradient descent, so it has two or more."""

    name: ClassVar[str] = "momentum"
    kind: ClassVar[str] = LEAST_SQUARES
    group: ClassVar[str] = ACCELERATED
    contains: ClassVar[tuple[str, ...]] = ("gradient_descent",)
    open: ClassVar[tuple[Range, ...]] = (STEP_SIZE, Range("momentum", 0.0, 0.96, 7, "linear"))
    steps: Sequence[int] = (2, 3, 4, 5, 6, 7, 8, 10, 12, 16)

    def iterates(self, s: Spectra, *values: Float[Tensor, "G 1 1 1"]) -> Iterator[Float[Tensor, "#G b K D"]]:
        eta, mu = values
        curvature, slope = s.eigenvalues / s.n, s.labelled / s.n
        w = velocity = torch.zeros_like(slope)[None]
        while True:
            velocity = mu * velocity + curvature * w - slope
            w = w - eta * velocity
            yield w


@dataclass(frozen=True)
class Nesterov(Iteration):
    """w₊ = v − η (λ v − b)/n,   v₊ = w₊ + μ (w₊ − w): the gradient is taken ahead; one μ for all steps."""

    name: ClassVar[str] = "nesterov"
    kind: ClassVar[str] = LEAST_SQUARES
    group: ClassVar[str] = ACCELERATED
    contains: ClassVar[tuple[str, ...]] = ("gradient_descent",)
    open: ClassVar[tuple[Range, ...]] = Momentum.open
    steps: Sequence[int] = Momentum.steps

    def iterates(self, s: Spectra, *values: Float[Tensor, "G 1 1 1"]) -> Iterator[Float[Tensor, "#G b K D"]]:
        eta, mu = values
        curvature, slope = s.eigenvalues / s.n, s.labelled / s.n
        w = ahead = torch.zeros_like(slope)[None]
        while True:
            before, w = w, ahead - eta * (curvature * ahead - slope)
            ahead = w + mu * (w - before)
            yield w


@dataclass(frozen=True)
class GradientDescentPlusPlus(Iteration):
    """w ← w + η h² (b − λ w)/n,   h ← h (1 − γ λ h²/n) from h = 1: every step also makes the inputs rounder."""

    name: ClassVar[str] = "gradient_descent_plus_plus"
    kind: ClassVar[str] = LEAST_SQUARES
    contains: ClassVar[tuple[str, ...]] = ("gradient_descent",)
    open: ClassVar[tuple[Range, ...]] = (STEP_SIZE, Range("curvature_step_size", 0.0, 0.5, 9, "linear", unit=-1))
    steps: Sequence[int] = (2, 3, 4, 5, 6)

    def iterates(self, s: Spectra, *values: Float[Tensor, "G 1 1 1"]) -> Iterator[Float[Tensor, "#G b K D"]]:
        eta, gamma = values
        curvature, slope = s.eigenvalues / s.n, s.labelled / s.n
        w, h = torch.zeros_like(slope)[None], torch.ones_like(slope)[None]
        while True:
            square = h.square()
            w = w + eta * square * (slope - curvature * w)
            h = h * (1 - gamma * curvature * square)
            yield w


@dataclass(frozen=True)
class Chebyshev(Iteration):
    """The best polynomial on [low, high]; low = high is gradient descent with η = 1/low, and so is one step of it."""

    name: ClassVar[str] = "chebyshev"
    kind: ClassVar[str] = LEAST_SQUARES
    group: ClassVar[str] = ACCELERATED
    contains: ClassVar[tuple[str, ...]] = ("gradient_descent",)
    open: ClassVar[tuple[Range, ...]] = (Range("low", 5e-3, 0.9, 10, unit=1), Range("high", 1.0, 10.0, 10, unit=1))
    steps: Sequence[int] = tuple(range(2, 11))

    def iterates(self, s: Spectra, *values: Float[Tensor, "G 1 1 1"]) -> Iterator[Float[Tensor, "#G b K D"]]:
        low, high = values
        center, half = (high + low) / 2, (high - low) / 2
        curvature, slope = s.eigenvalues / s.n, s.labelled / s.n
        w, rho = slope / center, half / center
        change = w
        while True:
            yield w
            before, rho = rho, 1 / (2 * center / half - rho)
            change = rho * (2 * (slope - curvature * w) / half + before * change)
            w = w + change


@dataclass(frozen=True)
class ConjugateGradient(Iteration):
    """The best polynomial of every prompt's own spectrum: nothing is open but the number of steps."""

    name: ClassVar[str] = "conjugate_gradient"
    kind: ClassVar[str] = LEAST_SQUARES
    contains: ClassVar[tuple[str, ...]] = (CONVERGED,)
    steps: Sequence[int] = tuple(range(1, 11))

    def iterates(self, s: Spectra, *values: Float[Tensor, "G 1 1 1"]) -> Iterator[Float[Tensor, "#G b K D"]]:
        curvature, r = s.eigenvalues / s.n, s.labelled / s.n
        w, p, size = torch.zeros_like(r), r, r.square().sum(-1, keepdim=True)
        enough = ENOUGH * size
        while True:
            Sp = curvature * p
            going = size > enough
            alpha = torch.where(going, size / torch.where(going, (p * Sp).sum(-1, keepdim=True), 1), 0)
            w, r = w + alpha * p, r - alpha * Sp
            before, size = size, r.square().sum(-1, keepdim=True)
            p = r + torch.where(going, size / torch.where(going, before, 1), 0) * p
            yield w[None]


class LineSearch(Iteration):
    """Steps whose size the context chooses; the rule is that of icl/algorithms/line_search_descent.py."""

    rule: ClassVar[Rule]
    kind: ClassVar[str] = LEAST_SQUARES
    contains: ClassVar[tuple[str, ...]] = (CONVERGED,)

    def iterates(self, s: Spectra, *values: Float[Tensor, "G 1 1 1"]) -> Iterator[Float[Tensor, "#G b K D"]]:
        search = LineSearchDescent(rule=self.rule)
        curvature, slope = s.eigenvalues / s.n, s.labelled / s.n
        best = slope * inverse(curvature)
        w = torch.zeros_like(slope)
        while True:
            g = curvature * w - slope
            square, bend = g.square().sum(-1), (curvature * g.square()).sum(-1)
            excess = 0.5 * (curvature * (w - best).square()).sum(-1)
            w = w - search.size(square, bend, excess)[..., None] * g
            yield w[None]


@dataclass(frozen=True)
class ExactLineSearch(LineSearch):
    """The minimum along the gradient. Its first step is that of conjugate gradient, so it has two or more."""

    name: ClassVar[str] = "exact_line_search"
    rule: ClassVar[Rule] = "exact"
    steps: Sequence[int] = (2, 3, 4, 6, 8, 12, 16, 24)


@dataclass(frozen=True)
class PolyakSteps(LineSearch):
    """η = (L(w) − min L) / |∇L|²."""

    name: ClassVar[str] = "polyak_steps"
    rule: ClassVar[Rule] = "polyak"
    steps: Sequence[int] = (1, 2, 3, 4, 6, 8, 12, 16, 24)


@dataclass(frozen=True)
class ArmijoSteps(LineSearch):
    """The first of 1, 1/2, 1/4, .. that falls enough."""

    name: ClassVar[str] = "armijo_steps"
    rule: ClassVar[Rule] = "armijo"
    steps: Sequence[int] = (1, 2, 3, 4, 6, 8, 12, 16, 24)
