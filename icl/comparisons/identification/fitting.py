"""Fitting the open numbers of a family to the guesses of a model: a grid, then Levenberg and Marquardt from its best.

References:
    Marquardt 1963, An algorithm for least-squares estimation of nonlinear parameters
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from icl.comparisons.identification.family import Family
from icl.comparisons.identification.slots import Slots

GRID_PLACES = 1500  # places that the whole grid is tried on
FIRST_PLACES, FIRST_ITERATIONS = 300, 6  # of the closer look at every number of steps, which may trade with a step size
PLACES = 2500  # of the closest look: some numbers are fitted on thousands of places as well as on more
TRIED, ITERATIONS = 3, 16  # the best numbers of steps, looked at closely
DAMPING, EASED, RAISED = 1e-2, 0.2, 5.0  # at first; its factors after a step that helped and one that did not
MOST, TINY = 3.0, 1e-12  # spacings of the grid a step; a damping that only a singular problem feels
ENOUGH, MOST_DAMPED = 1e-6, 1e4  # the relative gain, and the damping, with which a member has arrived
DIFFERENCE = 1e-5  # of the grid's spacing, for derivatives


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
    first = few.cut(0, max(1, FIRST_PLACES // slots.target.shape[1]))
    last = slots.cut(0, -(-PLACES // slots.target.shape[1]))
    rough = [
        _nearer(_descended(family, first, steps, start, answers[:, : len(first.target)], limit, FIRST_ITERATIONS)
                for start in _starts(grid, axes, own))
        for steps, own in zip(family.steps, distance)
    ]  # fmt: skip
    members = torch.arange(len(answers))
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for rows in torch.stack([losses for _, losses in rough]).argsort(0)[:TRIED]:  # one number of steps a model
        centers = torch.stack([centers for centers, _ in rough])[rows, :, members].T.contiguous()
        losses = torch.zeros(len(answers), dtype=torch.float64)
        for row in sorted(set(rows.tolist())):
            own = (rows == row).nonzero()[:, 0]
            own_answers = answers[own, : len(last.target)]
            closest = _descended(family, last, family.steps[row], centers[:, own], own_answers, limit, ITERATIONS)
            centers[:, own], losses[own] = closest
        found.append((rows, centers, losses))
    best = torch.stack([losses for _, _, losses in found]).argmin(0)
    rows = torch.stack([rows for rows, _, _ in found])[best, members]
    centers = torch.stack([centers for _, centers, _ in found], 1)[:, best, members]
    return Fitted(family, [family.steps[row] for row in rows.tolist()], numbers(family, centers, variance))


def _starts(
    grid: Float[Tensor, "V G"], axes: Sequence[Tensor], distance: Float[Tensor, "G M"]
) -> list[Float[Tensor, "V M"]]:
    """The best point of the grid; and the best that is no neighbour of it, for there may be two valleys."""
    best = grid[:, distance.argmin(0)]
    if not axes:
        return [best]
    width = torch.stack([axis[1] - axis[0] for axis in axes])[:, None, None]
    near = ((grid[..., None] - best[:, None]).abs() < 1.5 * width).all(0)
    return [best, grid[:, distance.masked_fill(near, torch.inf).argmin(0)]]


def _nearer(
    found: Iterable[tuple[Float[Tensor, "V M"], Float[Tensor, "M"]]],
) -> tuple[Float[Tensor, "V M"], Float[Tensor, "M"]]:
    """Of every model's ends of descent the nearest one."""
    centers, losses = (torch.stack(parts) for parts in zip(*found, strict=True))
    members = torch.arange(losses.shape[1])
    best = losses.argmin(0)
    return centers[best, :, members].T, losses[best, members]


def numbers(family: Family, coordinates: Float[Tensor, "V G"], variance: float) -> Float[Tensor, "V G"]:
    """The open numbers at these coordinates."""
    rows = [r.value(row, variance) for r, row in zip(family.open, coordinates)]
    return torch.stack(rows) if rows else coordinates


def _descended(
    family: Family, slots: Slots, steps: int, start: Float[Tensor, "V m"], answers: Float[Tensor, "m B K"],
    limit: float, iterations: int,
) -> tuple[Float[Tensor, "V m"], Float[Tensor, "m"]]:  # fmt: skip
    """Every member's own descent within the ends of the grid, and the mean squared distance where it ends.

        δ = −(JᵀJ + μ diag JᵀJ)⁻¹ Jᵀr,   r the differences to the answers, J by forward differences

    It goes along the valley of two numbers that trade with each other, which a grid that shrinks would lose.
    """
    axes = [r.grid() for r in family.open]
    if not axes:
        (guess,) = family.guesses(slots, (steps,), start)
        return start, (within(guess, limit) - answers).square().mean((1, 2))
    low, high, next_to_low = (torch.stack([axis[i] for axis in axes])[:, None] for i in (0, -1, 1))
    width = next_to_low - low
    at, damping = start.clone(), torch.full((len(answers),), DAMPING, dtype=torch.float64)
    loss, slope, curvature = _linear(family, slots, steps, at, width, answers, limit)
    going = torch.arange(len(answers))  # members that have not arrived
    for _ in range(iterations):
        if not len(going):
            break
        diagonal = curvature[going].diagonal(dim1=1, dim2=2)
        added = damping[going, None] * diagonal + TINY * diagonal.amax(1, keepdim=True) + torch.finfo(at.dtype).tiny
        step = torch.linalg.solve(curvature[going] + torch.diag_embed(added), -slope[going]).clamp(-MOST, MOST)
        tried = (at[:, going] + width * step.T).clamp(low, high)
        there = _linear(family, slots, steps, tried, width, answers[going], limit)
        better = there[0] < loss[going]
        arrived = torch.where(better, there[0] > (1 - ENOUGH) * loss[going], damping[going] > MOST_DAMPED)
        moved = going[better]
        at[:, moved], loss[moved] = tried[:, better], there[0][better]
        slope[moved], curvature[moved] = there[1][better], there[2][better]
        damping[going] *= torch.where(better, EASED, RAISED)
        going = going[~arrived]
    return at, loss


def _linear(
    family: Family, slots: Slots, steps: int, at: Float[Tensor, "V m"], width: Float[Tensor, "V 1"],
    answers: Float[Tensor, "m B K"], limit: float,
) -> tuple[Float[Tensor, "m"], Float[Tensor, "m V"], Float[Tensor, "m V V"]]:  # fmt: skip
    """(mean r², mean Jr, mean JJᵀ) at these coordinates, derivatives in units of the grid's spacing."""
    n_open = len(at)
    moves = DIFFERENCE * width * torch.eye(n_open, n_open + 1, dtype=torch.float64).roll(1, 1)
    points = (at[..., None] + moves[:, None]).flatten(1)
    (tried,) = family.guesses(slots, (steps,), numbers(family, points, slots.spectra.variance))
    guess = within(tried, limit).flatten(1).unflatten(0, (at.shape[1], 1 + n_open))
    r, J = guess[:, 0] - answers.flatten(1), (guess[:, 1:] - guess[:, :1]) / DIFFERENCE
    n_places = r.shape[1]
    return r.square().mean(1), (J @ r[..., None])[..., 0] / n_places, J @ J.mT / n_places


def _mean_squares(guesses: Float[Tensor, "G B K"], answers: Float[Tensor, "M B K"]) -> Float[Tensor, "G M"]:
    """Mean squared distance of every pair, as one matrix product."""
    g, a = guesses.flatten(1), answers.flatten(1)
    return (g.square().sum(1)[:, None] - 2 * g @ a.T + a.square().sum(1)) / g.shape[1]
