"""Does identification find the truth where it is known? Every candidate itself as the model, with noise.

References:
    the question of any measuring instrument: what does it say to a known sample
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from icl.comparisons.identification.identify import identify
from icl.comparisons.identification.question import Question
from icl.comparisons.identification.truths import TRUTHS, Noisy
from icl.comparisons.identification.verdict import Verdict
from icl.comparisons.measured import Curve, Measured
from icl.rng import Draw

PER_SET = 10  # draws of every algorithm on one set of prompts


@dataclass(frozen=True, kw_only=True)
class KnownAlgorithms:
    """Ten draws of every algorithm for every `each` prompts: its numbers at random, and noise on every guess.

        rate            share of draws in which it is named, mean over algorithms
        lowest_rate     of the algorithm that is named least
        found_rate      share in which it is named, or among several that the prompts do not tell apart
        lowest_found_rate   of the algorithm that is found least
        wrong_rate      share in which another one is named, or a family that it is not in
        undecided_rate  share in which it is among several that are not told apart

    `noise` is a standard deviation, over that of the labels. The trained model is not asked; the task's prompts are
    what they are asked on, at the query. `learners` are the candidates that see no spectrum. Prompts are drawn anew
    for every ten draws, `n_prompts` in all: a hundred draws take ten times `each`. A `quick` look asks one
    draw of the few algorithms that are candidates then.
    """

    numbers: ClassVar[tuple[str, ...]] = (
        "rate", "lowest_rate", "found_rate", "lowest_found_rate", "wrong_rate", "undecided_rate"
    )  # fmt: skip
    n_prompts: int = 2560
    each: int = 256
    n_fit: int = 128
    learners: bool = True
    noise: float = 0.01
    quick: bool = False

    def __post_init__(self) -> None:
        if not self.noise >= 0:
            raise ValueError(f"noise={self.noise} must be >= 0")
        self.question()

    def question(self) -> Question:
        """At the query, where all contexts have one length."""
        judged = min(self.each, self.n_prompts)
        return Question(
            n_fit=min(self.n_fit, judged), n_prompts=judged, positions="query", learners=self.learners,
            quick=self.quick,
        )  # fmt: skip

    def measure(self, model: Any, task: Any, draw: Draw) -> Measured:
        truths = [t for t in (QUICK if self.quick else TRUTHS) if self.learners or t not in LEARNERS]
        counts: dict[str, dict[str, int]] = {truth: {} for truth in truths}
        many = 1 if self.quick else PER_SET
        for index in range(max(1, self.n_prompts // self.each)):
            for truth, verdict in self._set(truths, many, task, draw.at(index, f"{draw.name}/{index}")):
                said = says(truth, verdict)
                counts[truth][said] = counts[truth].get(said, 0) + 1
        return self._measured(counts)

    def _set(self, truths: list[str], many: int, task: Any, draw: Draw) -> list[tuple[str, Verdict]]:
        """`many` draws of every truth on one set of prompts."""
        own = Draw(draw.seeds[:1], f"{draw.name}/truths", dtype=torch.float64)
        names = [truth for truth in truths for _ in range(many)]
        algorithms = [TRUTHS[name](own, task.dim) for name in names]
        power = task.sample(1000, draw.at(0, f"{draw.name}/power")).target.double().square().mean().item()
        bank = Noisy(algorithms, self.noise * power**0.5, own)
        return list(zip(names, identify(bank, task, draw, self.question()).verdicts, strict=True))

    def _measured(self, counts: dict[str, dict[str, int]]) -> Measured:
        def share(truth: str, kind: str) -> float:
            return sum(n for said, n in counts[truth].items() if _kind(truth, said) == kind) / sum(
                counts[truth].values()
            )

        found = torch.tensor(
            [share(t, "right") + counts[t].get(OPEN, 0) / sum(counts[t].values()) for t in counts], dtype=torch.float64
        )
        shares = {
            kind: torch.tensor([share(t, kind) for t in counts], dtype=torch.float64)
            for kind in ("right", "open", "wrong")
        }
        said = sorted({name for row in counts.values() for name in row})
        confusion = Curve(
            kind="map", title="What identification says to a known algorithm", x_label="verdict", y_label="truth",
            x=said, y=list(counts), model=[[float(counts[t].get(s, 0)) for s in said] for t in counts],
            note=f"{sum(counts[next(iter(counts))].values())} draws each, noise {100 * self.noise:g} % of the labels",
        )  # fmt: skip
        return Measured(
            numbers={
                "rate": one(shares["right"].mean()), "lowest_rate": one(shares["right"].min()),
                "found_rate": one(found.mean()), "lowest_found_rate": one(found.min()),
                "wrong_rate": one(shares["wrong"].mean()), "undecided_rate": one(shares["open"].mean()),
            },
            curves={"confusion": confusion},
            n_prompts=self.n_prompts,
        )  # fmt: skip


QUICK = ("zero", "averaging", "least_squares", "ridge", "gradient_descent", "iterative_newton")
OPEN = "not told apart"
LEARNERS = ("nearest_neighbours", "kernel_regression", "lasso", "decision_tree", "gradient_boosting")


def one(value: Tensor) -> Float[Tensor, "1"]:
    return value[None]


def says(truth: str, verdict: Verdict) -> str:
    """A name, `not told apart` if the truth is among several, or what else was said."""
    if verdict.status == "named":
        return verdict.names[0]
    if verdict.status in ("family", "undecided") and truth in (*verdict.names, *verdict.also):
        return OPEN
    return "none" if verdict.status == "none" else "others, not told apart"


def _kind(truth: str, said: str) -> str:
    return "right" if said == truth else "open" if said in (OPEN, "none") else "wrong"
