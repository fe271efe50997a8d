"""Which candidates can be told from the nearest one, and what may therefore be said about a model."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from icl.comparisons.walk import N_BLOCKS, resampling_weights
from icl.rng import Draw

Status = Literal["named", "family", "undecided", "none"]
SAME = 1e-6  # of E y²: distances closer than this are rounding, or the fit's own


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What one model runs, as far as the prompts tell.

    `best` is the nearest candidate and `distance` its squared prediction difference over E y². A contender is within
    the margin of it, or not told from it by the bootstrap over prompts. `names` are the contenders that contain no
    other contender (`also` are those that do: the same algorithm with more freedom).

        named       one name          family      several, all of one kind
        undecided   several kinds     none        nothing is near: the best leaves more than the allowed share

    `runner_up` is the nearest candidate that is no contender, `margin` what it is farther away, in units of E y², with
    its 95 % interval over prompts.
    """

    status: Status
    best: str
    distance: float
    names: tuple[str, ...]
    also: tuple[str, ...]
    kind: str
    runner_up: str | None
    margin: float
    margin_interval: tuple[float, float]

    def __str__(self) -> str:
        names = ", ".join(self.names)
        said = {"named": names, "family": f"{self.kind} ({names} are not told apart)",
                "undecided": f"undecided between {names}",
                "none": f"none of the candidates (the nearest is {self.best})"}[self.status]  # fmt: skip
        text = f"{said}; it leaves {self.distance:.3g} of E y²"
        if self.runner_up is not None:
            low, high = self.margin_interval
            text += f", {self.runner_up} {self.margin:.3g} [{low:.2g}, {high:.2g}] more"
        return text


def judge(
    names: Sequence[str],
    distances: Float[Tensor, "C M B"],
    label_square: float,
    *,
    kinds: Mapping[str, str],
    contains: Mapping[str, Sequence[str]],
    least_margin: float,
    most_unexplained: float,
    draw: Draw,
) -> list[Verdict]:
    """One verdict a model from the distances to every prompt, over E y² here; nan where a candidate was not asked.

    A slow candidate that was asked less is compared on the prompts that it was asked. The bootstrap interval is one
    for all candidates at once (Bonferroni).
    """
    scaled = distances / label_square
    asked = scaled.isfinite()
    found = []
    for m in range(scaled.shape[1]):
        own, known = scaled[:, m], asked[:, m]
        best = _nearest(own, known)
        level = 0.05 / max(len(names) - 1, 1)
        excess, low, high = _excess(own, known, best, level, draw)
        shared = torch.stack([own[best][known[c]].mean() for c in range(len(names))])
        contender = (low <= SAME) | (excess <= least_margin * shared + SAME)
        contender[best] = True
        found.append(
            _verdict(list(names), own, best, contender, excess, low, high, kinds, _closed(contains), most_unexplained)
        )
    return found


def _nearest(own: Float[Tensor, "C B"], known: Bool[Tensor, "C B"]) -> int:
    """The candidate with the least mean, two at a time on the prompts that both were asked."""
    best = 0
    for c in range(1, len(own)):
        both = known[c] & known[best]
        if own[c][both].mean() < own[best][both].mean():
            best = c
    return best


def _excess(
    own: Float[Tensor, "C B"], known: Bool[Tensor, "C B"], best: int, level: float, draw: Draw
) -> tuple[Float[Tensor, "C"], Float[Tensor, "C"], Float[Tensor, "C"]]:
    """How much farther every candidate is than the best, with a paired interval over prompts."""
    mean, low, high = (torch.zeros(len(own), dtype=torch.float64) for _ in range(3))
    counts = known.sum(1)
    for n in sorted(set(counts.tolist())):
        rows = [c for c in range(len(own)) if counts[c] == n]
        both = known[rows[0]] & known[best]
        difference = (own[rows] - own[best])[:, both]
        blocks = min(N_BLOCKS, difference.shape[1])
        block = torch.arange(difference.shape[1]) * blocks // difference.shape[1]
        sums = torch.zeros(len(rows), blocks, dtype=torch.float64).index_add_(1, block, difference)
        weights = resampling_weights(blocks, draw)
        resampled = sums @ weights.T / (weights @ block.bincount().double())
        ends = torch.quantile(resampled, torch.tensor([level, 1 - level], dtype=torch.float64), dim=1)
        mean[rows], low[rows], high[rows] = difference.mean(1), ends[0], ends[1]
    return mean, low, high


def _closed(contains: Mapping[str, Sequence[str]]) -> dict[str, set[str]]:
    """Everything that a family contains, also through others."""
    closed = {name: set(own) for name, own in contains.items()}
    for _ in closed:
        for own in closed.values():
            own |= {deeper for inner in list(own) for deeper in closed.get(inner, ())}
    return closed


def _verdict(
    names: list[str], own: Tensor, best: int, contender: Tensor, excess: Tensor, low: Tensor, high: Tensor,
    kinds: Mapping[str, str], contains: Mapping[str, set[str]], most_unexplained: float,
) -> Verdict:  # fmt: skip
    left = [names[c] for c in excess.argsort().tolist() if contender[c]]
    simplest = tuple(name for name in left if not contains.get(name, set()) & (set(left) - {name}))
    others = [c for c in excess.argsort().tolist() if not contender[c]]
    kind = {kinds[name] for name in simplest}
    distance = own[best][own[best].isfinite()].mean().item()
    status: Status = "named" if len(simplest) == 1 else "family" if len(kind) == 1 else "undecided"
    if distance > most_unexplained:
        status = "none"
    runner = others[0] if others else None
    return Verdict(
        status=status, best=names[best], distance=distance, names=simplest,
        also=tuple(name for name in left if name not in simplest), kind=" or ".join(sorted(kind)),
        runner_up=None if runner is None else names[runner],
        margin=0.0 if runner is None else excess[runner].item(),
        margin_interval=(0.0, 0.0) if runner is None else (low[runner].item(), high[runner].item()),
    )  # fmt: skip


def together(verdicts: Sequence[Verdict]) -> str:
    """What all seeds say: the name, if it is one; the kind, if they agree on that; else what each says."""
    counts = Counter(name for v in verdicts for name in v.names)
    names = [f"{name} {n}/{len(verdicts)}" for name, n in counts.most_common()]
    states = {v.status for v in verdicts}
    if "none" in states:
        return f"none of the candidates in {sum(v.status == 'none' for v in verdicts)} of {len(verdicts)} seeds"
    if len(names) == 1:
        return f"{next(iter(counts))} in {len(verdicts)} of {len(verdicts)} seeds"
    kinds = {v.kind for v in verdicts}
    if len(kinds) == 1 and "undecided" not in states:
        return f"{kinds.pop()} in {len(verdicts)} of {len(verdicts)} seeds; not ruled out, of seeds: {', '.join(names)}"
    return "undecided: " + "; ".join(sorted({", ".join(v.names) for v in verdicts}))
