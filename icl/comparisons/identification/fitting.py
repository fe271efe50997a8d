"""Fitting the open numbers of a family to the guesses of a model: a grid, then a grid that shrinks around the best."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from icl.comparisons.identification.family import Family
from icl.comparisons.identification.slots import Slots

GRID_PLACES = 4000  # places that the whole grid is tried on; the shrinking one sees all of them
ROUNDS = 9
OFFSETS = {0: 1, 1: 7, 2: 5}  # points along each open number, by how many there are


@dataclass(frozen=True)
class Fitted:
    """The member of a family that is nearest to each of M models, as its steps and its open numbers."""

    family: Family
    steps: Sequence[int]
    values: Float[Tensor, "V M"]

    def guesses(self, slots: Slots, limit: float) -> Float[Tensor, "M B K"]:
        """Of every model's own member, within ±limit."""
        found: dict[int, Tensor] = {}
        for steps in sorted(set(self.steps)):
            members = [m for m, own in enumerate(self.steps) if own == steps]
            (guess,) = self.family.guesses(slots, (steps,), self.values[:, members])
            found |= dict(zip(members, within(guess, limit)))
        return torch.stack([found[m] for m in range(len(self.steps))])

    def describe(self, member: int) -> str:
        """`8 steps, step_size=0.31`."""
        steps = [f"{self.steps[member]} steps"] if len(self.family.steps) > 1 else []
        numbers = [f"{r.name}={v:.3g}" for r, v in zip(self.family.open, self.values[:, member].tolist())]
        return ", ".join(steps + numbers)


def within(guess: Tensor, limit: float) -> Tensor:
    """Guesses between −limit and limit: one prompt on which an iteration diverges must not decide for all others."""
    return guess.nan_to_num(nan=limit, posinf=limit, neginf=-limit).clamp(-limit, limit)


def fit(family: Family, slots: Slots, answers: Float[Tensor, "M B K"], limit: float) -> Any:
    """The nearest members by the mean squared distance. A family with a fit of its own makes that one."""
    own = getattr(family, "fit", None)
    return _by_grid(family, slots, answers, limit) if own is None else own(slots, answers, limit)


def _by_grid(family: Family, slots: Slots, answers: Float[Tensor, "M B K"], limit: float) -> Fitted:
    variance = slots.spectra.variance
    axes = [r.grid() for r in family.open]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij")).flatten(1) if axes else torch.zeros(0, 1).double()
    some = min(len(slots.target), max(1, GRID_PLACES // slots.target.shape[1]))
    few = slots.cut(0, some)
    tried = family.guesses(few, family.steps, numbers(family, grid, variance))
    distance = torch.stack([_mean_squares(within(guess, limit), answers[:, :some]) for guess in tried])  # T G M
    best = distance.flatten(0, 1).argmin(0)
    steps = [family.steps[i] for i in (best // grid.shape[1]).tolist()]
    centers = grid[:, best % grid.shape[1]]
    for own in sorted(set(steps)):
        members = [m for m, t in enumerate(steps) if t == own]
        centers[:, members] = _zoomed(family, slots, own, centers[:, members], answers[members], limit)
    return Fitted(family, steps, numbers(family, centers, variance))


def numbers(family: Family, coordinates: Float[Tensor, "V G"], variance: float) -> Float[Tensor, "V G"]:
    """The open numbers at these coordinates."""
    rows = [r.value(row, variance) for r, row in zip(family.open, coordinates)]
    return torch.stack(rows) if rows else coordinates


def _zoomed(
    family: Family, slots: Slots, steps: int, centers: Float[Tensor, "V m"], answers: Float[Tensor, "m B K"],
    limit: float,
) -> Float[Tensor, "V m"]:  # fmt: skip
    """Centres of ever smaller grids, each at the best point of the one before."""
    n_open = len(family.open)
    if not n_open:
        return centers
    line = torch.linspace(-1, 1, OFFSETS[n_open], dtype=torch.float64)
    offsets = torch.stack(torch.meshgrid(*[line] * n_open, indexing="ij")).flatten(1)  # V P
    axes = [r.grid() for r in family.open]
    width = torch.stack([axis[1] - axis[0] for axis in axes])[:, None, None]
    low, high = (torch.stack([axis[i] for axis in axes])[:, None, None] for i in (0, -1))
    members = torch.arange(len(answers))
    for _ in range(ROUNDS):
        points = (centers[..., None] + width * offsets[:, None]).clamp(low, high)  # V m P
        (tried,) = family.guesses(slots, (steps,), numbers(family, points.flatten(1), slots.spectra.variance))
        guesses = within(tried, limit).unflatten(0, points.shape[1:])
        best = (guesses - answers[:, None]).square().mean((-1, -2)).argmin(1)
        centers = points[:, members, best]
        width = width * (line[1] - line[0])
    return centers


def _mean_squares(guesses: Float[Tensor, "G B K"], answers: Float[Tensor, "M B K"]) -> Float[Tensor, "G M"]:
    """Mean squared distance of every pair, as one matrix product."""
    g, a = guesses.flatten(1), answers.flatten(1)
    return (g.square().sum(1)[:, None] - 2 * g @ a.T + a.square().sum(1)) / g.shape[1]
