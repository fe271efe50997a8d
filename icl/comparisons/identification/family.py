"""A family of candidates: an algorithm with some numbers left open, which are fitted to the model that is asked."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from icl.comparisons.identification.slots import Slots, Spectra

PIECE_FLOATS = 2**17  # small enough for a cache: an iteration reads them many times


@dataclass(frozen=True)
class Range:
    """An open number: its grid, and the unit in which the grid is stated, a power of the variance of x."""

    name: str
    low: float
    high: float
    points: int
    scale: Literal["log", "linear"] = "log"
    unit: int = 0

    def grid(self) -> Float[Tensor, "G"]:
        """In the coordinate in which the fit zooms: the logarithm, or the number itself."""
        low, high = (math.log(end) if self.scale == "log" else end for end in (self.low, self.high))
        return torch.linspace(low, high, self.points, dtype=torch.float64)

    def value(self, coordinate: Tensor, variance: float) -> Tensor:
        """The number that the algorithm uses."""
        own = coordinate.exp() if self.scale == "log" else coordinate
        return own * variance**self.unit


class Family(ABC):
    """Its members are (steps, open numbers). `contains` are families of which some members are members here too."""

    name: ClassVar[str]
    kind: ClassVar[str]  # what families that cannot be told apart may be called together
    group: ClassVar[str] = ""  # a closer word for a few of one kind
    contains: ClassVar[tuple[str, ...]] = ()
    open: ClassVar[tuple[Range, ...]] = ()
    steps: Sequence[int] = (1,)
    most_prompts: int | None = None  # a slow one is asked fewer

    @abstractmethod
    def guesses(
        self, slots: Slots, steps: Sequence[int], values: Float[Tensor, "V G"]
    ) -> Iterator[Float[Tensor, "G B K"]]:
        """For every number of steps the guesses of G members; row v of `values` is open number v."""


class InTheEigenbasis(Family):
    """A family that sees A and b alone: weights of every step from the spectra, a few prompts at a time."""

    @abstractmethod
    def weights(
        self, s: Spectra, steps: Sequence[int], values: Sequence[Float[Tensor, "G 1 1 1"]]
    ) -> Iterator[Float[Tensor, "#G b K D"]]:
        """Uᵀw after each of `steps` (ascending)."""

    def guesses(
        self, slots: Slots, steps: Sequence[int], values: Float[Tensor, "V G"]
    ) -> Iterator[Float[Tensor, "G B K"]]:
        n_members = values.shape[1]
        parts: list[list[Tensor]] = [[] for _ in steps]
        columns = values[..., None, None, None].unbind(0)
        for _, s in slots.spectra.pieces(n_members, PIECE_FLOATS):
            for part, w in zip(parts, self.weights(s, steps, columns), strict=True):
                part.append((w * s.query).sum(-1).expand(n_members, -1, -1))
        for part in parts:
            yield torch.cat(part, 1)


def iterated(steps: Sequence[int], iterates: Iterator[Tensor]) -> Iterator[Tensor]:
    """Of the iterates 1, 2, .. those that were asked for, ascending."""
    wanted = iter(steps)
    following = next(wanted, None)
    for step, w in enumerate(iterates, 1):
        if step == following:
            yield w
            following = next(wanted, None)
        if following is None:
            return
