"""Which algorithm does the trained model run? The probe; what it does is in icl/comparisons/identification.

References:
    Akyürek et al. 2022, What learning algorithm is in-context learning?, arXiv:2211.15661
    Fu, Chen, Jia, Sharan 2023, Transformers learn to achieve second-order convergence rates, arXiv:2310.17086
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from icl.comparisons.identification.figures import NUMBERS, curves, numbers
from icl.comparisons.identification.identify import identify
from icl.comparisons.identification.question import Question
from icl.comparisons.identification.report import Evidence, collect
from icl.comparisons.measured import Measured
from icl.rng import Draw
from icl.tasks.shifts import shifts_of


@dataclass(frozen=True, kw_only=True)
class Identification:
    """Every candidate family is fitted to the model on `n_fit` prompts and judged on `n_prompts` others.

    Distances are squared prediction differences over E y², similarities those of errors. As claims:

        error                       of the model at the query, over E y²: MSE/d for linear regression with w ~ N(0, I)
        best_distance               of the nearest candidate
        family_to_least_squares     distance to the nearest regularised least squares, over that to plain least squares
        best_similarity             similarity of errors to the most similar regularised least squares
        n_contenders                candidates that the prompts do not tell from the nearest
        named, is_family            1 if one was named; if one or several of the kind "least squares" were
        separated                   1 if only designed prompts told the contenders apart
        separation                  squared distance of two rivals, mean over pairs, as expected on prompts designed
                                    within the first of `reaches`; and on them, there:
        unexplained_there           distance to the nearest candidate
        newton_to_ridge_there, newton_to_descent_there   distance to the fitted Newton over that to the others
        linearity                   R² of the guesses at 4 D queries of a context as a linear function of the query
        best_weight_similarity      cosine of its weights to the most similar candidate's
        distance_F, similarity_F, is_F   of every family F; is_F is 1 if that is the verdict

    `reaches` are how far designed spectra may leave those in training; `[]` designs none. A `quick` look has few
    candidates and the first reach; a debug run takes it.
    """

    numbers: ClassVar[tuple[str, ...]] = NUMBERS
    n_fit: int = 256
    n_prompts: int = 1000
    positions: Literal["auto", "every", "query"] = "auto"
    learners: bool = True
    least_margin: float = 0.1
    most_gain: float = 0.02
    most_unexplained: float = 0.1
    reaches: Sequence[float] = (1.0, 2.0, 4.0)
    shifts: bool = True
    quick: bool = False

    def __post_init__(self) -> None:
        self.question()
        if not all(reach >= 1 for reach in self.reaches):
            raise ValueError(f"reaches={list(self.reaches)} must be numbers >= 1")

    def question(self, also: dict[str, Any] | None = None) -> Question:
        """The same settings, without the shifts."""
        return Question(
            n_fit=self.n_fit, n_prompts=self.n_prompts, positions=self.positions, learners=self.learners,
            least_margin=self.least_margin, most_gain=self.most_gain, most_unexplained=self.most_unexplained,
            quick=self.quick, also=also or {},
        )  # fmt: skip

    def evidence(self, model: Any, task: Any, draw: Draw, also: dict[str, Any] | None = None) -> Evidence:
        """All that is found; `also` are further candidates."""
        question = self.question(also)
        found = identify(model, task, draw, question)
        shifts = shifts_of(task) if self.shifts and hasattr(task, "shift") else {}
        reaches = self.reaches[:1] if self.quick else self.reaches
        return collect(model, found, task, question, reaches, shifts, draw)

    def measure(self, model: Any, task: Any, draw: Draw) -> Measured:
        return self.measured(self.evidence(model, task, draw))

    def measured(self, evidence: Evidence) -> Measured:
        """Its numbers and maps."""
        return Measured(numbers=numbers(evidence), curves=curves(evidence), n_prompts=self.n_prompts)
