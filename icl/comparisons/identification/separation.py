"""Prompts on which rival candidates must differ: contexts whose spectrum is chosen, not drawn.

Every least-squares candidate is a filter of the eigenvalues of A = Σᵢ xᵢxᵢᵀ. On the spectra of the training prompts
two of them may agree by accident; only another spectrum can tell them apart. Here a search over spectra tells as many
pairs of rivals apart as it can, within a stated reach of the eigenvalues that occur in training.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from icl.comparisons.identification.slots import Slots, slots_of
from icl.core import Prompt
from icl.rng import Draw

N_SPECTRA, N_KEPT, ROUNDS, PROMPTS_EACH = 96, 12, 6, 24
QUANTILES = (0.05, 0.95)  # of the eigenvalues that occur in training
FLAT = tuple(2.0 ** (k / 2) for k in range(-6, 7))  # eigenvalues of flat spectra, in units of the training mean


@dataclass(frozen=True)
class Spectrum:
    """The chosen eigenvalues of A/n, descending; `disagreement` is the mean squared distance of two rivals over E y²,
    as expected on fresh prompts."""

    eigenvalues: Float[Tensor, "R"]
    reach: float
    disagreement: float


def prompts_with(
    eigenvalues: Float[Tensor, "B R"], n_context: int, dim: int, w_scale: float, noise_std: float, draw: Draw
) -> tuple[Prompt, Float[Tensor, "1 B"]]:
    """Prompts whose A/n has exactly these eigenvalues (R = min(N, D)), in random directions; and ⟨w, x_query⟩.

    X = √n V diag(√λ) Uᵀ,   x_query = U diag(√λ) z,   w ~ w_scale N(0, I),   V, U random with orthonormal columns
    """
    n_prompts, rank = eigenvalues.shape
    root = eigenvalues.double().sqrt()
    V = torch.linalg.qr(draw.normal(n_prompts, n_context, rank)[0].double().cpu()).Q
    U = torch.linalg.qr(draw.normal(n_prompts, dim, rank)[0].double().cpu()).Q
    z, w = draw.normal(n_prompts, rank)[0].double().cpu(), w_scale * draw.normal(n_prompts, dim)[0].double().cpu()
    noise = noise_std * draw.normal(n_prompts, n_context)[0].double().cpu()
    x = n_context**0.5 * torch.einsum("bnr,br,bdr->bnd", V, root, U)
    query = torch.einsum("bdr,br,br->bd", U, root, z)
    y, target = torch.einsum("bnd,bd->bn", x, w) + noise, (query * w).sum(-1)
    as_drawn = {"device": draw.device, "dtype": draw.dtype}
    return Prompt(*(t[None].to(**as_drawn) for t in (x, y, query))), target[None]


@dataclass(frozen=True)
class Shifts:
    """Where spectra may go: the law of w and of the noise, and the eigenvalues of A/n in training."""

    n_context: int
    dim: int
    w_scale: float
    noise_std: float
    low: float
    high: float
    mean: float

    @classmethod
    def of(cls, slots: Slots, task: Any) -> "Shifts":
        """From prompts of the task; E y² = w_scale² E|x|² sets w_scale for labels of whatever function."""
        s = slots.spectra
        values = (s.eigenvalues[:, -1] / s.n[:, -1]).flatten()
        there = values[values > 0]
        low, high = torch.quantile(there, torch.tensor(QUANTILES, dtype=torch.float64)).tolist()
        n_context, dim = slots.prompt.x.shape[2:]
        w_scale = (slots.label_square / slots.prompt.x_query.double().square().sum(-1).mean().item()) ** 0.5
        return cls(n_context, dim, w_scale, getattr(task, "noise_std", 0.0), low, high, values.mean().item())

    def slots(self, eigenvalues: Float[Tensor, "B R"], draw: Draw) -> Slots:
        """Prompts with these spectra, asked at the query."""
        prompt, target = prompts_with(eigenvalues, self.n_context, self.dim, self.w_scale, self.noise_std, draw)
        return slots_of(prompt, False, target)


def separating(
    rivals: Sequence[Sequence[str]], fitted: Mapping[str, Any], shifts: Shifts, reach: float, unexplained: float,
    limit: float, draw: Draw,
) -> Spectrum:  # fmt: skip
    """The spectrum that tells most pairs of rivals apart (a list of names a model).

    A pair at squared distance d counts d / (d + unexplained), as much as it can be seen beside what no candidate
    explains. Random spectra and flat ones, the best kept and moved, in ever smaller steps; all on the same random
    numbers. Eigenvalues stay within [low / reach, high · reach] of training.
    """
    rank = min(shifts.n_context, shifts.dim)
    low, high = (torch.tensor(v, dtype=torch.float64).log() for v in (shifts.low / reach, shifts.high * reach))
    search = Draw(draw.seeds[:1], f"{draw.name}/search", dtype=torch.float64)
    flat = torch.linspace(0, 1, N_KEPT, dtype=torch.float64)[:, None].expand(-1, rank)
    points = low + (high - low) * torch.cat([flat, search.uniform(N_SPECTRA - N_KEPT, rank)[0]])
    kept = points[:1]
    for round in range(ROUNDS):
        points = points.sort(-1, descending=True).values
        apart = _distances(rivals, fitted, shifts, points.exp(), limit, search.at(0, f"{draw.name}/common"))
        seen = (apart / (apart + unexplained)).mean(0)
        kept = points[seen.argsort(descending=True)[:N_KEPT]]
        step = 0.3 * (high - low) * 0.6**round
        moved = kept.repeat(N_SPECTRA // N_KEPT - 1, 1)
        points = torch.cat([kept, (moved + step * search.normal(*moved.shape)[0]).clamp(low, high)])
    best = kept[0].exp()
    fresh = _distances(rivals, fitted, shifts, best.expand(16, -1), limit, search.at(1, f"{draw.name}/fresh"))
    return Spectrum(best, reach, fresh.mean().item())


def _distances(
    rivals: Sequence[Sequence[str]], fitted: Mapping[str, Any], shifts: Shifts, spectra: Float[Tensor, "S R"],
    limit: float, draw: Draw,
) -> Float[Tensor, "pairs S"]:  # fmt: skip
    """Squared distances over E y² of every two rivals of every model, for every spectrum."""
    n_spectra = len(spectra)
    slots = shifts.slots(spectra.repeat_interleave(PROMPTS_EACH, 0), draw)
    names = sorted({name for own in rivals for name in own})
    guesses = {name: fitted[name].guesses(slots, limit)[..., 0].unflatten(1, (n_spectra, -1)) for name in names}
    scale = slots.target[:, 0].unflatten(0, (n_spectra, -1)).square().mean(-1)
    pairs = [(m, *pair) for m, own in enumerate(rivals) for pair in combinations(own, 2)]
    return torch.stack([(guesses[a][m] - guesses[b][m]).square().mean(-1) / scale for m, a, b in pairs])


def response(
    predictors: Mapping[str, Any], shifts: Shifts, model: Any, limit: float, n_prompts: int, draw: Draw
) -> tuple[list[float], Float[Tensor, "M F"], dict[str, Float[Tensor, "M F"]]]:
    """The shrinkage s(c) = Σ ŷy / Σ y² on contexts with A/n = c I: what a filter does there, s = λ f(λ), λ = n c.

    Of the model and of the fitted candidates, at F values of c in units of the training mean.
    """
    rank = min(shifts.n_context, shifts.dim)
    values = torch.tensor(FLAT, dtype=torch.float64) * shifts.mean
    slots = shifts.slots(values.repeat_interleave(n_prompts)[:, None].expand(-1, rank), draw)
    y = slots.target[:, 0].unflatten(0, (len(FLAT), -1))

    def of(guess: Float[Tensor, "#M B 1"]) -> Float[Tensor, "#M F"]:
        return (guess[..., 0].unflatten(1, y.shape) * y).sum(-1) / y.square().sum(-1)

    found = {name: of(fitted.guesses(slots, limit)) for name, fitted in predictors.items()}
    return list(FLAT), of(slots.ask(model)), found
