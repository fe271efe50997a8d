"""Fitting the open numbers of a family to the guesses of a model: a grid, then a grid that shrinks around the best."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from icl.comparisons.identification.family import Family
from icl.comparisons.identification.slots import Slots

GRID_PLACES = 1500  # places that the whole grid is tried on
FIRST_PLACES, FIRST_ROUNDS = 400, 3  # of the closer look at every number of steps, which may trade with a step size
PLACES = 2500  # of the closest look: some numbers are fitted on thousands of places as well as on more
TRIED, ROUNDS = 2, 9  # the best numbers of steps, looked at closely
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
    where = distance.argmin(1)  # T M
    first = few.cut(0, max(1, FIRST_PLACES // slots.target.shape[1]))
    last = slots.cut(0, -(-PLACES // slots.target.shape[1]))
    rough = [
        _zoomed(family, first, steps, grid[:, own], answers[:, : len(first.target)], limit, FIRST_ROUNDS)
        for steps, own in zip(family.steps, where)
    ]
    members = torch.arange(len(answers))
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for rows in torch.stack([losses for _, losses in rough]).argsort(0)[:TRIED]:  # one number of steps a model
        centers = torch.stack([centers for centers, _ in rough])[rows, :, members].T.contiguous()
        losses = torch.zeros(len(answers), dtype=torch.float64)
        for row in sorted(set(rows.tolist())):
            own = (rows == row).nonzero()[:, 0]
            own_answers = answers[own, : len(last.target)]
            zoomed = _zoomed(family, last, family.steps[row], centers[:, own], own_answers, limit, ROUNDS)
            centers[:, own], losses[own] = zoomed
        found.append((rows, centers, losses))
    best = torch.stack([losses for _, _, losses in found]).argmin(0)
    rows = torch.stack([rows for rows, _, _ in found])[best, members]
    centers = torch.stack([centers for _, centers, _ in found], 1)[:, best, members]
    return Fitted(family, [family.steps[row] for row in rows.tolist()], numbers(family, centers, variance))


def numbers(family: Family, coordinates: Float[Tensor, "V G"], variance: float) -> Float[Tensor, "V G"]:
    """The open numbers at these coordinates."""
    rows = [r.value(row, variance) for r, row in zip(family.open, coordinates)]
    return torch.stack(rows) if rows else coordinates


def _zoomed(
    family: Family, slots: Slots, steps: int, centers: Float[Tensor, "V m"], answers: Float[Tensor, "m B K"],
    limit: float, rounds: int,
) -> tuple[Float[Tensor, "V m"], Float[Tensor, "m"]]:  # fmt: skip
    """Centres of ever smaller grids, each at the best point of the one before; and the distance at the last."""
    n_open = len(family.open)
    if not n_open:
        (guess,) = family.guesses(slots, (steps,), centers)
        return centers, (within(guess, limit) - answers).square().mean((1, 2))
    line = torch.linspace(-1, 1, OFFSETS[n_open], dtype=torch.float64)
    offsets = torch.stack(torch.meshgrid(*[line] * n_open, indexing="ij")).flatten(1)  # V P
    axes = [r.grid() for r in family.open]
    width = torch.stack([axis[1] - axis[0] for axis in axes])[:, None, None]
    low, high = (torch.stack([axis[i] for axis in axes])[:, None, None] for i in (0, -1))
    members, least = torch.arange(len(answers)), torch.zeros(len(answers), dtype=torch.float64)
    for _ in range(rounds):
        points = (centers[..., None] + width * offsets[:, None]).clamp(low, high)  # V m P
        (tried,) = family.guesses(slots, (steps,), numbers(family, points.flatten(1), slots.spectra.variance))
        guesses = within(tried, limit).unflatten(0, points.shape[1:])
        least, best = (guesses - answers[:, None]).square().mean((-1, -2)).min(1)
        centers = points[:, members, best]
        width = width * (line[1] - line[0])
    return centers, least


def _mean_squares(guesses: Float[Tensor, "G B K"], answers: Float[Tensor, "M B K"]) -> Float[Tensor, "G M"]:
    """Mean squared distance of every pair, as one matrix product."""
    g, a = guesses.flatten(1), answers.flatten(1)
    return (g.square().sum(1)[:, None] - 2 * g @ a.T + a.square().sum(1)) / g.shape[1]
