"""Candidates that are asked as they are: any predictors, as a list of members."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from icl.algorithms.decision_tree import DecisionTree
from icl.algorithms.gradient_boosting import GradientBoosting
from icl.algorithms.kernel_regression import KernelRegression
from icl.algorithms.lasso import Lasso
from icl.algorithms.nearest_neighbours import NearestNeighbours
from icl.algorithms.neural_network import NeuralNetwork
from icl.comparisons.identification.family import Family
from icl.comparisons.identification.fitting import within
from icl.comparisons.identification.slots import Slots

FITTED = 48  # prompts that the member of a slow list is chosen on
ASKED = {False: (256, 16), True: (16, 4)}  # prompts for Lasso and a tree, and for slower ones: at the query, everywhere
SWEEPS = 1000  # over the coordinates; weaker penalties with fewer pairs than coordinates need a hundred times more


@dataclass(frozen=True)
class Listed(Family):
    """A family whose members stand in a list, each a predictor under a name."""

    name: str  # type: ignore[misc]  # of an instance here
    kind: str  # type: ignore[misc]
    members: Mapping[str, Any]
    contains: tuple[str, ...] = ()  # type: ignore[misc]
    most_prompts: int | None = None

    def guesses(
        self, slots: Slots, steps: Sequence[int], values: Float[Tensor, "V G"]
    ) -> Iterator[Float[Tensor, "G B K"]]:
        yield torch.stack([slots.ask(predictor)[0] for predictor in self.members.values()])

    def fit(self, slots: Slots, answers: Float[Tensor, "M B K"], limit: float) -> "Chosen":
        """The member of least distance on (the first of) these prompts."""
        labels = list(self.members)
        if len(labels) == 1:
            return Chosen(self, labels * len(answers))
        if self.most_prompts is not None:
            most = min(FITTED, self.most_prompts, len(slots.target))
            slots, answers = slots.cut(0, most), answers[:, :most]
        (tried,) = self.guesses(slots, (1,), torch.zeros(0, 1).double())
        distance = [(within(guess, limit) - answers).square().mean((1, 2)) for guess in tried]
        best = torch.stack(distance).argmin(0).tolist()
        return Chosen(self, [labels[i] for i in best])


@dataclass(frozen=True)
class Chosen:
    """The member of a list that is nearest to each of M models."""

    family: Listed
    labels: Sequence[str]

    def guesses(self, slots: Slots, limit: float) -> Float[Tensor, "M B K"]:
        """Of every model's own member, within ±limit."""
        own = {label: within(slots.ask(self.family.members[label])[0], limit) for label in sorted(set(self.labels))}
        return torch.stack([own[label] for label in self.labels])

    def describe(self, member: int) -> str:
        return self.labels[member]


class Learners:
    """The lists of every identification."""

    LOCAL: ClassVar[str] = "averages of labels"

    @classmethod
    def all(cls, variance: float, dim: int, every: bool) -> list[Listed]:
        """`variance` and `dim` set the bandwidths: typical squared distances are 2 dim variance.

        One fit a prompt and place is slow, so some are asked the first few prompts alone,
        and fewer at `every` position.
        """
        some, few = ASKED[every]
        near = (2 * dim * variance) ** 0.5
        widths = [near * f for f in (0.125, 0.18, 0.25, 0.35, 0.5, 0.7, 1.0, 1.4)]
        return [
            Listed("nearest_neighbours", cls.LOCAL, {f"k={k}": NearestNeighbours(k=k) for k in (1, 2, 3, 4, 5, 8)}),
            Listed(
                "kernel_regression", cls.LOCAL, {f"bandwidth={w:.3g}": KernelRegression(bandwidth=w) for w in widths}
            ),
            Listed(
                "lasso", "sparse",
                {f"alpha={a:g}": Lasso(alpha=a, max_iterations=SWEEPS) for a in (1.0, 0.3, 0.1, 0.03, 0.01)},
                ("zero", "least_squares"), most_prompts=some,
            ),
            Listed(
                "decision_tree", "trees",
                {f"max_depth={d}": DecisionTree(max_depth=d) for d in (4, None)}, most_prompts=some,
            ),
            Listed("gradient_boosting", "trees", {"": GradientBoosting()}, most_prompts=few),
            Listed(
                "neural_network", "networks", {f"steps={t}": NeuralNetwork(steps=t) for t in (100, 300)},
                most_prompts=few,
            ),
        ]  # fmt: skip
