"""Candidates with a closed form in the eigenbasis: w_j = f(λ_j) (Uᵀb)_j.

References:
    Akyürek et al. 2022, What learning algorithm is in-context learning?, arXiv:2211.15661
    Fu, Chen, Jia, Sharan 2023, Transformers learn to achieve second-order convergence rates, arXiv:2310.17086
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from icl.comparisons.identification.family import InTheEigenbasis, Range
from icl.comparisons.identification.slots import Spectra

LEAST_SQUARES = "least squares"
CONVERGED = "least_squares"  # what every iteration is in the end, and so contains
DOUBLING = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 30, 40, 60, 100, 200, 500)


class Filter(InTheEigenbasis):
    """w = f(λ) Uᵀb."""

    @abstractmethod
    def response(self, s: Spectra, steps: int, values: Sequence[Float[Tensor, "G 1 1 1"]]) -> Float[Tensor, "#G b K D"]:
        """f; what it says at λ = 0 is multiplied by 0."""

    def weights(
        self, s: Spectra, steps: Sequence[int], values: Sequence[Float[Tensor, "G 1 1 1"]]
    ) -> Iterator[Float[Tensor, "#G b K D"]]:
        for t in steps:
            yield self.response(s, t, values) * s.labelled


def inverse(eigenvalues: Tensor) -> Tensor:
    """1/λ, and 0 at 0."""
    return torch.where(eigenvalues > 0, 1 / eigenvalues.where(eigenvalues > 0, 1), 0)


@dataclass(frozen=True)
class Zero(Filter):
    """Says 0, as an untrained layer does."""

    name: ClassVar[str] = "zero"
    kind: ClassVar[str] = "zero"

    def response(self, s: Spectra, steps: int, values: Sequence[Float[Tensor, "G 1 1 1"]]) -> Float[Tensor, "#G b K D"]:
        return torch.zeros_like(s.eigenvalues)[None]


@dataclass(frozen=True)
class Averaging(Filter):
    """f = 1/n."""

    name: ClassVar[str] = "averaging"
    kind: ClassVar[str] = LEAST_SQUARES

    def response(self, s: Spectra, steps: int, values: Sequence[Float[Tensor, "G 1 1 1"]]) -> Float[Tensor, "#G b K D"]:
        return (1 / s.n).expand_as(s.eigenvalues)[None]


@dataclass(frozen=True)
class LeastSquares(Filter):
    """f = 1/λ, of minimal norm."""

    name: ClassVar[str] = "least_squares"
    kind: ClassVar[str] = LEAST_SQUARES

    def response(self, s: Spectra, steps: int, values: Sequence[Float[Tensor, "G 1 1 1"]]) -> Float[Tensor, "#G b K D"]:
        return inverse(s.eigenvalues)[None]


@dataclass(frozen=True)
class Ridge(Filter):
    """f = 1/(λ + ridge)."""

    name: ClassVar[str] = "ridge"
    kind: ClassVar[str] = LEAST_SQUARES
    contains: ClassVar[tuple[str, ...]] = ("zero", "least_squares")
    open: ClassVar[tuple[Range, ...]] = (Range("ridge", 1e-3, 1e3, 31, unit=1),)

    def response(self, s: Spectra, steps: int, values: Sequence[Float[Tensor, "G 1 1 1"]]) -> Float[Tensor, "#G b K D"]:
        return 1 / (s.eigenvalues + values[0])


@dataclass(frozen=True)
class GradientDescent(Filter):
    """f = (1 − (1 − η λ/n)^t) / λ, the loss a mean over the pairs."""

    name: ClassVar[str] = "gradient_descent"
    kind: ClassVar[str] = LEAST_SQUARES
    contains: ClassVar[tuple[str, ...]] = ("zero", "averaging", CONVERGED)
    open: ClassVar[tuple[Range, ...]] = (Range("step_size", 0.01, 3.0, 48, unit=-1),)
    steps: Sequence[int] = DOUBLING

    def response(self, s: Spectra, steps: int, values: Sequence[Float[Tensor, "G 1 1 1"]]) -> Float[Tensor, "#G b K D"]:
        return (1 - (1 - values[0] * s.eigenvalues / s.n) ** steps) * inverse(s.eigenvalues)


@dataclass(frozen=True)
class GradientDescentOnSum(Filter):
    """f = (1 − (1 − η λ)^t) / λ, the loss a sum over the pairs: the same as a mean where all contexts are as long."""

    name: ClassVar[str] = "gradient_descent_on_sum"
    kind: ClassVar[str] = LEAST_SQUARES
    contains: ClassVar[tuple[str, ...]] = ("zero", CONVERGED)
    open: ClassVar[tuple[Range, ...]] = (Range("step_size", 1e-3, 1.0, 48, unit=-1),)
    steps: Sequence[int] = DOUBLING

    def response(self, s: Spectra, steps: int, values: Sequence[Float[Tensor, "G 1 1 1"]]) -> Float[Tensor, "#G b K D"]:
        return (1 - (1 - values[0] * s.eigenvalues) ** steps) * inverse(s.eigenvalues)


@dataclass(frozen=True)
class IterativeNewton(Filter):
    """f = (1 − (1 − α λ²)^(2^(t−1))) / λ with α = 1/‖A Aᵀ‖_F = (Σ_j λ_j⁴)^(−1/2): no open number, and no unit."""

    name: ClassVar[str] = "iterative_newton"
    kind: ClassVar[str] = LEAST_SQUARES
    contains: ClassVar[tuple[str, ...]] = (CONVERGED,)
    steps: Sequence[int] = tuple(range(1, 17))

    def response(self, s: Spectra, steps: int, values: Sequence[Float[Tensor, "G 1 1 1"]]) -> Float[Tensor, "#G b K D"]:
        square = s.eigenvalues.square()
        alpha = 1 / square.square().sum(-1, keepdim=True).sqrt().clamp(min=torch.finfo(square.dtype).tiny)
        return ((1 - (1 - alpha * square) ** (2 ** (steps - 1))) * inverse(s.eigenvalues))[None]
