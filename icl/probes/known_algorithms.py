"""Does identification find the truth where it is known? Every candidate itself as the model, with noise.

References:
    the question of any measuring instrument: what does it say to a known sample
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from icl.comparisons.identification.identify import Question, identify
from icl.comparisons.identification.truths import NOISE, TRUTHS, Noisy
from icl.comparisons.identification.verdict import Verdict
from icl.comparisons.measured import Curve, Measured
from icl.rng import Draw

PER_SET = 10  # draws of every algorithm on one set of prompts


@dataclass(frozen=True, kw_only=True)
class KnownAlgorithms:
    """Ten draws of every algorithm for every `each` prompts: its numbers at random, and noise on every guess.

        rate            share of draws in which it is named, mean over algorithms
        lowest_rate     of the algorithm that is named least
        wrong_rate      share in which another one is named, or a family that it is not in
        undecided_rate  share in which it is among several that are not told apart

    The noise is 1 % of the labels' standard deviation. The trained model is not asked; the task's prompts are what they
    are asked on, at the query. `learners` are the candidates that see no spectrum. Prompts are drawn anew for every
    ten draws, `n_prompts` in all: a hundred draws take ten times `each`.
    """

    numbers: ClassVar[tuple[str, ...]] = ("rate", "lowest_rate", "wrong_rate", "undecided_rate")
    n_prompts: int = 2560
    each: int = 256
    n_fit: int = 128
    learners: bool = True

    def __post_init__(self) -> None:
        self.question()

    def question(self) -> Question:
        """At the query, where all contexts have one length."""
        judged = min(self.each, self.n_prompts)
        return Question(n_fit=min(self.n_fit, judged), n_prompts=judged, positions="query", learners=self._slow)

    @property
    def _slow(self) -> bool:
        """Learners are left out of a quick look."""
        return self.learners and self.n_prompts >= self.each

    def measure(self, model: Any, task: Any, draw: Draw) -> Measured:
        truths = [t for t in TRUTHS if self._slow or t not in LEARNERS]
        counts: dict[str, dict[str, int]] = {truth: {} for truth in truths}
        many = PER_SET if self.n_prompts >= self.each else 1
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
        bank = Noisy(algorithms, NOISE * power**0.5, own)
        return list(zip(names, identify(bank, task, draw, self.question()).verdicts, strict=True))

    def _measured(self, counts: dict[str, dict[str, int]]) -> Measured:
        def share(truth: str, kind: str) -> float:
            return sum(n for said, n in counts[truth].items() if _kind(truth, said) == kind) / sum(
                counts[truth].values()
            )

        shares = {kind: torch.tensor([share(t, kind) for t in counts]).double() for kind in ("right", "open", "wrong")}
        said = sorted({name for row in counts.values() for name in row})
        confusion = Curve(
            kind="map", title="What identification says to a known algorithm", x_label="verdict", y_label="truth",
            x=said, y=list(counts), model=[[float(counts[t].get(s, 0)) for s in said] for t in counts],
            note=f"{sum(counts[next(iter(counts))].values())} draws each, noise {100 * NOISE:g} % of the labels",
        )  # fmt: skip
        return Measured(
            numbers={
                "rate": one(shares["right"].mean()), "lowest_rate": one(shares["right"].min()),
                "wrong_rate": one(shares["wrong"].mean()), "undecided_rate": one(shares["open"].mean()),
            },
            curves={"confusion": confusion},
            n_prompts=self.n_prompts,
        )  # fmt: skip


LEARNERS = ("nearest_neighbours", "kernel_regression", "lasso", "decision_tree", "gradient_boosting")


def one(value: Tensor) -> Float[Tensor, "1"]:
    return value[None]


def says(truth: str, verdict: Verdict) -> str:
    """A name, `not told apart` if the truth is among several, or what else was said."""
    if verdict.status == "named":
        return verdict.names[0]
    if verdict.status in ("family", "undecided") and truth in (*verdict.names, *verdict.also):
        return "not told apart"
    return "none" if verdict.status == "none" else "others, not told apart"


def _kind(truth: str, said: str) -> str:
    return "right" if said == truth else "open" if said in ("not told apart", "none") else "wrong"
