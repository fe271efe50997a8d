"""What is asked of every predictor: guesses at K places of every prompt, and the eigenbasis in which many are cheap."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from icl.algorithms.moments import prefix_moments
from icl.comparisons.walk import chunks, n_members
from icl.config import ConfigError
from icl.core import Prompt, last_every_prefix, last_step
from icl.rng import Draw

MOMENT_FLOATS = 2**22  # of A at all places of the prompts that are decomposed at a time
RANK = 1e-13  # an eigenvalue below this share of the largest is none


@dataclass(frozen=True)
class Spectra:
    """The contexts in their own eigenbasis: A = Σᵢ xᵢxᵢᵀ = U diag(λ) Uᵀ, one a place, float64, on the CPU.

    An algorithm that sees only A and b = Σᵢ yᵢxᵢ guesses Σ_j (Uᵀx)_j w_j with w_j from (λ, Uᵀb); a spectral filter is
    w_j = f(λ_j) (Uᵀb)_j. Where A is singular both λ_j and (Uᵀb)_j are 0. n is the number of pairs.
    """

    eigenvalues: Float[Tensor, "B K D"]
    labelled: Float[Tensor, "B K D"]  # Uᵀ b
    query: Float[Tensor, "B K D"]  # Uᵀ x
    n: Float[Tensor, "B K 1"]

    def cut(self, start: int, stop: int) -> "Spectra":
        """Prompts start..stop-1."""
        return Spectra(*(getattr(self, f.name)[start:stop] for f in fields(self)))

    def pieces(self, floats: int, most: int) -> Iterator[tuple[slice, "Spectra"]]:
        """A few prompts at a time, so that `floats` copies of the eigenvalues stay within `most` numbers."""
        size = max(1, most // (floats * self.eigenvalues[0].numel()))
        for start in range(0, len(self.eigenvalues), size):
            yield slice(start, start + size), self.cut(start, start + size)

    @cached_property
    def variance(self) -> float:
        """Of one coordinate of x, the unit of step sizes (inverse) and ridges."""
        return (self.eigenvalues / self.n).mean().item()


@dataclass(frozen=True)
class Slots:
    """B prompts, shared by all predictors, and K places each: the positions 1..N, or the query alone.

    Position 0, where every guess is the prior's, says nothing about an algorithm and is left out.
    """

    prompt: Prompt
    every: bool
    target: Float[Tensor, "B K"]
    spectra: Spectra

    @property
    def label_square(self) -> float:
        """E y², the unit of squared distances."""
        return self.target.square().mean().item()

    def cut(self, start: int, stop: int) -> "Slots":
        """Prompts start..stop-1."""
        return Slots(self.prompt.chunk(start, stop), self.every, self.target[start:stop], self.spectra.cut(start, stop))

    def ask(self, predictor: Any) -> Float[Tensor, "#M B K"]:
        """The final guesses of `predictor`, float64 on the CPU, without gradients."""
        with torch.no_grad():
            if self.every:
                guesses = last_every_prefix(predictor, self.prompt)[..., 1:]
            else:
                guesses = last_step(predictor, self.prompt)[..., None]
        return guesses.double().cpu()


def drawn(task: Any, n_prompts: int, every: bool, draw: Draw, model: Any = None) -> list[Slots]:
    """`n_prompts` prompts of the task in pieces of bounded memory for a bank like `model`.

    Raises:
        ConfigError: the task has no scalar labels y of inputs x.
    """
    if every and hasattr(task, "positions"):
        task = replace(task, positions="every")
    found = []
    for sample in chunks(task, n_prompts, n_members(model), draw):
        prompt = sample.prompt
        shapes = ((), (prompt.x.shape[2] + 1,)) if isinstance(prompt, Prompt) and prompt.y.ndim == 3 else ()
        if sample.target.shape[2:] not in shapes or getattr(task, "returns", "prediction") == "weights":
            raise ConfigError(f"{type(task).__name__} has no scalar labels to identify an algorithm by")
        found.append(slots_of(prompt, every, sample.target))
    return found


def slots_of(prompt: Prompt, every: bool, target: Float[Tensor, "1 B *P"]) -> Slots:
    """The places of one piece. Where a task knows f only at the query, a label stands for it at the other places."""
    target = target.double().cpu()[0]
    if target.ndim == 1:
        labels = torch.cat([prompt.y[0].double().cpu(), target[:, None]], 1)
        target = labels[:, 1:] if every else target[:, None]
    else:
        target = target[:, 1:] if every else target[:, -1:]
    return Slots(prompt, every, target, spectra_of(prompt, every))


def moments_of(
    prompt: Prompt, every: bool
) -> tuple[Float[Tensor, "B K D D"], Float[Tensor, "B K D"], Float[Tensor, "B K D"], Float[Tensor, "B K 1"]]:
    """(A, b, x, n) at every place, float64 on the CPU."""
    x, y = (t.double().cpu() for t in prompt.positions())
    if every:
        A, b = (t[0, :, 1:] for t in prefix_moments(x, y))
        n = torch.arange(1, x.shape[2], dtype=A.dtype).expand(len(A), -1)[..., None]
        return A, b, x[0, :, 1:], n
    context, labels = x[0, :, :-1], y[0, :, :-1]
    A = torch.einsum("bnd,bne->bde", context, context)[:, None]
    b = torch.einsum("bnd,bn->bd", context, labels)[:, None]
    return A, b, x[0, :, -1:], A.new_full((len(A), 1, 1), context.shape[1])


def spectra_of(prompt: Prompt, every: bool) -> Spectra:
    """The eigenbasis at every place, a few prompts at a time."""
    n_prompts, n_context, dim = prompt.x.shape[1:]
    size = max(1, MOMENT_FLOATS // ((n_context if every else 1) * dim**2))
    parts = []
    for start in range(0, n_prompts, size):
        A, b, x, n = moments_of(prompt.chunk(start, start + size), every)
        eigenvalues, U = torch.linalg.eigh(A)
        rank = torch.arange(dim, 0, -1) <= n  # ascending: of n < D pairs the last n
        there = rank & (eigenvalues > RANK * eigenvalues[..., -1:])
        labelled, query = torch.einsum("bkde,bkd->bke", U, b), torch.einsum("bkde,bkd->bke", U, x)
        parts.append((eigenvalues.where(there, 0), labelled.where(there, 0), query, n))
    return Spectra(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def joined(pieces: list[Slots]) -> Slots:
    """Pieces as one, for guesses that were asked piece by piece."""
    prompt = Prompt(*(torch.cat([getattr(p.prompt, name) for p in pieces], 1) for name in ("x", "y", "x_query")))
    spectra = Spectra(*(torch.cat([getattr(p.spectra, f.name) for p in pieces]) for f in fields(Spectra)))
    return Slots(prompt, pieces[0].every, torch.cat([p.target for p in pieces]), spectra)
