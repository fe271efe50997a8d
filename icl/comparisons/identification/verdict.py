"""Which candidates can be told from the nearest one, and what may therefore be said about a model."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from icl.comparisons.identification.paired import Paired, Resamples
from icl.rng import Draw

Status = Literal["named", "family", "undecided", "none"]
SAME = 1e-6  # of E y²: distances closer than this are rounding, or the fit's own
NEAR_END = 0.5  # of |a − b|²: with more excess than that the model is in the nearest quarter of the way from a to b


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What one model runs, as far as the prompts tell.

    `best` is the nearest candidate and `distance` its squared prediction difference over E y². A contender is not told
    from it by the bootstrap over prompts; or it is, but by a difference too small to matter, as fits have them; or its
    distance is within the margin, and the model is not at the best one's end of the way from one to the other (a model
    that is neither may be a little nearer to either).
    A contender with more freedom, that contains another one, is in `also` where its freedom is shown to gain nothing;
    where it may gain something, both are in `names`, for either may be the truth.

        named       one name          family      several, all of one kind
        undecided   several kinds     none        nothing is near: the best leaves more than the allowed share

    `group` is a closer word than `kind`, where all names have the same one.

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
    group: str = ""

    def __str__(self) -> str:
        names = ", ".join(self.names)
        said = {"named": names, "family": f"{self.group or self.kind} ({names} are not told apart)",
                "undecided": f"undecided between {names}",
                "none": f"none of the candidates (the nearest is {self.best})"}[self.status]  # fmt: skip
        text = f"{said}; it leaves {self.distance:.3g} of E y²"
        if self.runner_up is not None:
            low, high = self.margin_interval
            text += f", {self.runner_up} {self.margin:.3g} [{low:.2g}, {high:.2g}] more"
        return text


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What candidates are to each other, and what a name takes; the numbers are those of `Question`."""

    kinds: Mapping[str, str]
    contains: Mapping[str, Sequence[str]]
    least_margin: float
    most_unexplained: float
    most_gain: float = 0.02
    groups: Mapping[str, str] = field(default_factory=dict)

    def nested(self, names: Sequence[str]) -> list[tuple[int, int]]:
        """(simple, freer): the second contains the first, also through others."""
        closed = {name: set(own) for name, own in self.contains.items()}
        for _ in closed:
            for own in closed.values():
                own |= {deeper for inner in list(own) for deeper in closed.get(inner, ())}
        return [(names.index(s), c) for c, name in enumerate(names) for s in sorted(closed.get(name, ())) if s in names]


def judge(
    names: Sequence[str], distances: Float[Tensor, "C M B"], label_square: float, rules: Rules, draw: Draw,
    apart: Float[Tensor, "C C M"],
) -> list[Verdict]:  # fmt: skip
    """One verdict a model from the distances to every prompt, over E y² here; nan where a candidate was not asked.

    A slow candidate that was asked less is compared on the prompts that it was asked. Intervals hold for all
    candidates at once (Bonferroni). `apart` are the squared distances of candidates from each other. A model that is a
    plus noise is farther from b by just that, d_b − d_a = |a − b|²; half-way between them it is as near to both.
    """
    scaled, apart = distances / label_square, apart / label_square
    resamples = Resamples(0.05 / max(len(names) - 1, 1), draw)
    pairs = rules.nested(names)
    found = []
    for m in range(scaled.shape[1]):
        paired = Paired(scaled[:, m], resamples)
        best = paired.nearest()
        excess, low, high = paired.farther([(best, c) for c in range(len(names))])
        shared = torch.stack([paired.mean(best, c) for c in range(len(names))])
        between = excess <= NEAR_END * apart[best, :, m] + SAME
        within = excess <= rules.least_margin * shared + SAME
        contender = (low <= SAME) | (excess <= rules.most_gain * shared + SAME) | (within & between)
        contender[best] = True
        nested = [pair for pair in pairs if contender[pair[0]] and contender[pair[1]]]
        own = torch.stack([apart[simple, freer, m] for simple, freer in nested]) if nested else apart[:0, 0, m]
        idle = _idle(paired, nested, own, rules.most_gain * shared[best])
        found.append(_verdict(names, paired, best, contender, idle, (excess, low, high), rules))
    return found


def _idle(
    paired: Paired, nested: Sequence[tuple[int, int]], apart: Float[Tensor, "p"], most: Float[Tensor, ""]
) -> set[int]:
    """Candidates whose freedom is shown to gain nothing over a simpler one.

    Either the gain is too small to matter; or nothing shows that there is one, and it is not what it would be if the
    freer one were the truth, their distance to each other, which no noise blurs.
    """
    if not nested:
        return set()
    _, low, high = paired.farther([(freer, simple) for simple, freer in nested])
    shown = (high <= most + SAME) | ((low <= SAME) & (high <= apart + SAME))
    return {freer for (_, freer), idle in zip(nested, shown.tolist()) if idle}


def _verdict(
    names: Sequence[str], paired: Paired, best: int, contender: Bool[Tensor, "C"], idle: set[int],
    farther: tuple[Float[Tensor, "C"], Float[Tensor, "C"], Float[Tensor, "C"]], rules: Rules,
) -> Verdict:  # fmt: skip
    excess, low, high = farther
    order: list[int] = excess.argsort().tolist()
    said = tuple(names[c] for c in order if contender[c] and c not in idle)
    kinds, groups = ({of.get(name, "") for name in said} for of in (rules.kinds, rules.groups))
    distance = paired.mean(best, best).item()
    status: Status = "named" if len(said) == 1 else "family" if len(kinds) == 1 else "undecided"
    if distance > rules.most_unexplained:
        status = "none"
    runner = next((c for c in order if not contender[c]), None)
    return Verdict(
        status=status, best=names[best], distance=distance, names=said,
        also=tuple(names[c] for c in order if contender[c] and c in idle), kind=" or ".join(sorted(kinds)),
        runner_up=None if runner is None else names[runner],
        margin=0.0 if runner is None else excess[runner].item(),
        margin_interval=(0.0, 0.0) if runner is None else (low[runner].item(), high[runner].item()),
        group=groups.pop() if len(groups) == 1 else "",
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
