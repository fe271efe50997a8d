"""Preconditioned gradient descent with any Γ, fitted by gradients: the layer of Ahn et al. as a candidate.

References:
    Ahn et al. 2023, Transformers learn to implement preconditioned gradient descent, arXiv:2306.00297
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from icl.comparisons.identification.family import Family
from icl.comparisons.identification.filters import LEAST_SQUARES
from icl.comparisons.identification.fitting import within
from icl.comparisons.identification.slots import Slots, moments_of

PLACES = 2_000  # that Γ is fitted on, for each of D² numbers at least two
ITERATIONS = 40
STARTS = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)  # multiples of I, in units of the inverse variance
MOMENT_FLOATS = 2**22


@dataclass(frozen=True)
class PreconditionedGradientDescent(Family):
    """w ← w + Γ (b − A w)/n for t steps from 0, one Γ for all prompts: D² open numbers, and ηI among them."""

    name: ClassVar[str] = "preconditioned_gradient_descent"
    kind: ClassVar[str] = LEAST_SQUARES
    contains: ClassVar[tuple[str, ...]] = ("gradient_descent",)
    steps: Sequence[int] = (1, 2, 3, 4)

    def guesses(self, slots: Slots, steps: Sequence[int], values: Float[Tensor, "V G"]):
        """One Γ a column of `values`, by rows."""
        dim = slots.prompt.x.shape[-1]
        gamma = values.T.unflatten(1, (dim, dim))
        yield from (_guesses(slots, gamma, t) for t in steps)

    def fit(self, slots: Slots, answers: Float[Tensor, "M B K"], limit: float) -> "FittedMatrix":
        """L-BFGS for every number of steps, from the exact fit of one step."""
        n_places = max(PLACES, 2 * slots.prompt.x.shape[-1] ** 2)
        some = min(len(slots.target), -(-n_places // slots.target.shape[1]))
        few, answers = slots.cut(0, some), answers[:, :some]
        A, b, x, n = moments_of(few.prompt, few.every)
        problem = _Problem(A / n[..., None], b / n, x, answers, limit)
        first = problem.one_step()
        eye = torch.eye(x.shape[-1], dtype=torch.float64).expand_as(first)
        sizes = [f / slots.spectra.variance for f in STARTS]
        gammas, losses = [], []
        for t in self.steps:
            starts = [first / t, *(size * eye for size in sizes)]
            tried = torch.stack([problem.left(start, t) for start in starts])  # starts, M
            start = torch.stack([starts[i][m] for m, i in enumerate(tried.argmin(0).tolist())])
            gamma = first if t == 1 else problem.descended(start, t)
            gammas.append(gamma)
            losses.append(problem.left(gamma, t))
        best = torch.stack(losses).argmin(0)
        gamma = torch.stack([gammas[i][m] for m, i in enumerate(best.tolist())])
        return FittedMatrix(self, [self.steps[i] for i in best.tolist()], gamma)


@dataclass(frozen=True)
class FittedMatrix:
    """The nearest steps and Γ of each of M models."""

    family: PreconditionedGradientDescent
    steps: Sequence[int]
    gamma: Float[Tensor, "M D D"]

    def guesses(self, slots: Slots, limit: float) -> Float[Tensor, "M B K"]:
        """Of every model's own member, within ±limit."""
        found: dict[int, Tensor] = {}
        for steps in sorted(set(self.steps)):
            members = [m for m, own in enumerate(self.steps) if own == steps]
            found |= dict(zip(members, within(_guesses(slots, self.gamma[members], steps), limit)))
        return torch.stack([found[m] for m in range(len(self.steps))])

    def describe(self, member: int) -> str:
        gamma = self.gamma[member]
        size = gamma.diagonal().mean().item()
        away = torch.linalg.matrix_norm(gamma / size - torch.eye(len(gamma)).double()).item()
        return f"{self.steps[member]} steps, mean diagonal of Γ {size:.3g}, |Γ/that − I| = {away:.2g}"


def _guesses(slots: Slots, gamma: Float[Tensor, "M D D"], steps: int) -> Float[Tensor, "M B K"]:
    """A few prompts at a time."""
    size = max(1, MOMENT_FLOATS // (slots.target.shape[1] * gamma.shape[-1] ** 2))
    parts = []
    for start in range(0, len(slots.target), size):
        A, b, x, n = moments_of(slots.prompt.chunk(start, start + size), slots.every)
        parts.append(_readout(A / n[..., None], b / n, x, gamma, steps))
    return torch.cat(parts, 1)


def _readout(
    H: Float[Tensor, "B K D D"], slope: Float[Tensor, "B K D"], x: Float[Tensor, "B K D"],
    gamma: Float[Tensor, "M D D"], steps: int,
) -> Float[Tensor, "M B K"]:  # fmt: skip
    """⟨w_t, x⟩."""
    w = torch.einsum("mde,bke->mbkd", gamma, slope)
    for _ in range(steps - 1):
        residual = slope - torch.einsum("bkde,mbke->mbkd", H, w)
        w = w + torch.einsum("mde,mbke->mbkd", gamma, residual)
    return torch.einsum("mbkd,bkd->mbk", w, x)


@dataclass(frozen=True)
class _Problem:
    """Γ to be fitted to the answers of M models: H = A/n and b/n at the places."""

    H: Float[Tensor, "B K D D"]
    slope: Float[Tensor, "B K D"]
    x: Float[Tensor, "B K D"]
    answers: Float[Tensor, "M B K"]
    limit: float

    def left(self, gamma: Float[Tensor, "M D D"], steps: int) -> Float[Tensor, "M"]:
        """Mean squared distance."""
        guesses = within(_readout(self.H, self.slope, self.x, gamma, steps), self.limit)
        return (guesses - self.answers).square().mean((1, 2))

    def one_step(self) -> Float[Tensor, "M D D"]:
        """The guess xᵀ Γ b/n is linear in Γ: least squares, with a ridge that only a singular problem feels."""
        dim = self.x.shape[-1]
        rows = torch.einsum("bkd,bke->bkde", self.x, self.slope).flatten(0, 1).flatten(1)
        gram = rows.T @ rows
        gram = gram + 1e-12 * gram.diagonal().mean() * torch.eye(dim**2).double()
        return torch.linalg.solve(gram, rows.T @ self.answers.flatten(1).T).T.reshape(-1, dim, dim)

    def descended(self, start: Float[Tensor, "M D D"], steps: int) -> Float[Tensor, "M D D"]:
        """L-BFGS. The members are independent terms of one sum, each in units of its own size."""
        tiny = torch.finfo(torch.float64).tiny
        size = self.answers.square().mean((1, 2)).clamp(min=tiny)
        unit = start.square().mean((1, 2), keepdim=True).sqrt().clamp(min=tiny)
        z = (start / unit).requires_grad_(True)
        optimizer = torch.optim.LBFGS([z], max_iter=ITERATIONS, tolerance_grad=1e-12, tolerance_change=1e-14,
                                      history_size=20, line_search_fn="strong_wolfe")  # fmt: skip

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = (self.left(z * unit, steps) / size).sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        return (z * unit).detach()
