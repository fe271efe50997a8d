"""Does identification find the truth where it is known? Every candidate itself as the model, with noise.

References:
    the question of any measuring instrument: what does it say to a known sample
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from icl.comparisons.identification.identify import identify
from icl.comparisons.identification.question import LEAST_PROMPTS, Question
from icl.comparisons.identification.truths import TRUTHS, Noisy
from icl.comparisons.identification.verdict import Verdict
from icl.comparisons.measured import Curve, Measured
from icl.rng import Draw

LEVELS = ("low", "middle", "high")
SHARES = ("rate", "lowest_rate", "alone_rate", "found_rate", "lowest_found_rate", "wrong_rate", "highest_wrong_rate",
          "undecided_rate")  # fmt: skip
OPEN, GROUP = "not told apart", "its group"
LEARNERS = ("nearest_neighbours", "kernel_regression", "lasso", "decision_tree", "gradient_boosting", "neural_network")
FAST = 256  # prompts for these: one fit a prompt is slow, and they are far from everything else
QUICK = ("zero", "averaging", "least_squares", "ridge", "gradient_descent", "iterative_newton")


@dataclass(frozen=True, kw_only=True)
class KnownAlgorithms:
    """`draws` draws of every algorithm on every `each` prompts: its numbers at random, and noise on every guess.

        rate            share of draws in which it is named, alone or as the group it is in; mean over algorithms
        lowest_rate     of the algorithm that is named least
        alone_rate      share in which it is named alone
        found_rate      share in which it is named, or among several that the prompts do not tell apart
        lowest_found_rate   of the algorithm that is found least
        wrong_rate      share in which another one is named, or a family that it is not in
        highest_wrong_rate  of the algorithm for which that happens most
        undecided_rate  share in which it is among several that are not told apart

    each at the `low`, `middle` and `high` level of `noise`, standard deviations over that of the labels: rate_low, ..
    A group are algorithms that imitate each other by what they are: momentum, Nesterov's and Chebyshev's, recurrences
    with one step of memory and two numbers. The trained model is not asked; the task's prompts are what they are asked
    on, at the query. `learners` are the candidates that see no spectrum. Prompts are drawn anew after `draws` draws,
    `n_prompts` in all: a hundred draws take five times `each`. A `quick` look asks one draw of the few algorithms
    that are candidates then.
    """

    numbers: ClassVar[tuple[str, ...]] = tuple(f"{share}_{level}" for level in LEVELS for share in SHARES)
    n_prompts: int = 10_000
    each: int = 2000
    draws: int = 20
    n_fit: int = 512
    learners: bool = True
    noise: Sequence[float] = (0.01, 0.02, 0.05)
    quick: bool = False

    def __post_init__(self) -> None:
        if len(self.noise) != len(LEVELS) or not all(level >= 0 for level in self.noise):
            raise ValueError(f"noise={list(self.noise)} must be {len(LEVELS)} numbers >= 0")
        if self.draws < 1:
            raise ValueError(f"draws={self.draws} must be >= 1")
        self.question()

    def question(self, most: int | None = None) -> Question:
        """At the query, where all contexts have one length."""
        judged = min(self.each, self.n_prompts, most or self.each)
        n_fit = min(self.n_fit, max(LEAST_PROMPTS, judged // 2))
        return Question(
            n_fit=n_fit, n_prompts=judged, positions="query", learners=self.learners, quick=self.quick
        )  # fmt: skip

    def measure(self, model: Any, task: Any, draw: Draw) -> Measured:
        spectral = [t for t in (QUICK if self.quick else TRUTHS) if t not in LEARNERS]
        slow = [t for t in LEARNERS if self.learners and not self.quick]
        counts = {level: {truth: Counter() for truth in spectral + slow} for level in LEVELS}
        for index in range(max(1, self.n_prompts // self.each)):
            own = draw.at(index, f"{draw.name}/{index}")
            for truths, question in ((spectral, self.question()), (slow, self.question(FAST))):
                if truths:
                    self._count(truths, question, task, own, counts)
        measured = [self._measured(level, counts[level]) for level in LEVELS]
        return Measured(
            numbers={name: value for numbers, _ in measured for name, value in numbers.items()},
            curves={f"confusion_{level}": curve for level, (_, curve) in zip(LEVELS, measured)},
            n_prompts=self.n_prompts,
        )

    def _count(
        self, truths: list[str], question: Question, task: Any, draw: Draw, counts: dict[str, dict[str, Counter]]
    ) -> None:
        """A few draws of every truth on one set of prompts, at all levels of noise."""
        own = Draw(draw.seeds[:1], f"{draw.name}/truths", dtype=torch.float64)
        names = [truth for truth in truths for _ in range(1 if self.quick else self.draws)]
        algorithms = [TRUTHS[name](own, task.dim) for name in names]
        power = task.sample(1000, draw.at(0, f"{draw.name}/power")).target.double().square().mean().item()
        found = identify(Noisy(algorithms, [n * power**0.5 for n in self.noise], own), task, draw, question)
        group = {name: fitted.family.group for name, fitted in found.fitted.items()}
        for m, verdict in enumerate(found.verdicts):
            truth = names[m % len(names)]
            counts[LEVELS[m // len(names)]][truth][says(truth, verdict, group)] += 1

    def _measured(self, level: str, counts: dict[str, Counter]) -> tuple[dict[str, Float[Tensor, "1"]], Curve]:
        def share(right: Callable[[str, str], bool]) -> Float[Tensor, "truths"]:
            rows = [sum(n for s, n in row.items() if right(t, s)) / row.total() for t, row in counts.items()]
            return torch.tensor(rows, dtype=torch.float64)

        named, alone = share(lambda t, s: s in (t, GROUP)), share(lambda t, s: s == t)
        found, undecided = share(lambda t, s: s in (t, GROUP, OPEN)), share(lambda t, s: s in (OPEN, "none"))
        wrong = share(lambda t, s: s not in (t, GROUP, OPEN, "none"))
        shares = (named.mean(), named.min(), alone.mean(), found.mean(), found.min(), wrong.mean(), wrong.max(),
                  undecided.mean())  # fmt: skip
        said = sorted({name for row in counts.values() for name in row})
        noise = self.noise[LEVELS.index(level)]
        confusion = Curve(
            kind="map", title="What identification says to a known algorithm", x_label="verdict", y_label="truth",
            x=said, y=list(counts), model=[[float(row[s]) for s in said] for row in counts.values()],
            note=f"{next(iter(counts.values())).total()} draws each, noise {100 * noise:g} % of the labels",
        )  # fmt: skip
        return {f"{name}_{level}": value[None] for name, value in zip(SHARES, shares, strict=True)}, confusion


def says(truth: str, verdict: Verdict, group: Mapping[str, str]) -> str:
    """A name, its group, `not told apart` if the truth is among several, or what else was said."""
    if verdict.status == "named":
        return verdict.names[0]
    if verdict.status in ("family", "undecided") and truth in (*verdict.names, *verdict.also):
        own = group.get(truth)
        return GROUP if own and verdict.group == own else OPEN
    return "none" if verdict.status == "none" else "others, not told apart"
