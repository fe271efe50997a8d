"""Which algorithm does a model run? Candidates fitted on one set of prompts, judged on another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from icl.comparisons.identification.descents import (
    ArmijoSteps,
    Chebyshev,
    ConjugateGradient,
    ExactLineSearch,
    GradientDescentPlusPlus,
    Momentum,
    Nesterov,
    PolyakSteps,
)
from icl.comparisons.identification.family import Family
from icl.comparisons.identification.filters import (
    Averaging,
    GradientDescent,
    GradientDescentOnSum,
    IterativeNewton,
    LeastSquares,
    Ridge,
    Zero,
)
from icl.comparisons.identification.fitting import fit, within
from icl.comparisons.identification.learners import Learners, Listed
from icl.comparisons.identification.preconditioned import PreconditionedGradientDescent
from icl.comparisons.identification.question import LEAST_PROMPTS, Question
from icl.comparisons.identification.similarity import errors, prompt_distances, similarity_of_errors
from icl.comparisons.identification.slots import Slots, drawn, joined
from icl.comparisons.identification.verdict import Rules, Verdict, judge
from icl.config import ConfigError
from icl.rng import Draw

LIMIT = 10.0  # guesses are held within this many standard deviations of the labels
# Shares of guesses outside, where the model's own are not, that are reported, and with which a candidate is left out.
UNSTABLE, DIVERGED = 1e-3, 0.05
WIDEST = 32  # the largest D at which D² open numbers are fitted


@dataclass(frozen=True)
class Identified:
    """C candidates against M models on the same prompts."""

    fitted: Mapping[str, Any]
    distances: Float[Tensor, "C M B"]  # squared, every prompt; nan where a slow candidate was not asked
    similarity: Float[Tensor, "C M"]  # of errors
    guesses: Mapping[str, Float[Tensor, "M b K"]]
    answers: Float[Tensor, "M B K"]
    verdicts: Sequence[Verdict]
    unstable: Mapping[str, float]  # share of guesses that were held back
    left_out: Mapping[str, str]  # and why
    slots: Slots

    @property
    def names(self) -> list[str]:
        return list(self.fitted)


def families(slots: Slots, question: Question) -> list[Family]:
    """All candidates, simple ones first."""
    dim = slots.prompt.x.shape[-1]
    found: list[Family] = [Zero(), Averaging(), LeastSquares(), Ridge(), GradientDescent()]
    if slots.every:
        found.append(GradientDescentOnSum())
    mine = [Listed(name, name, {"": predictor}) for name, predictor in question.also.items()]
    if question.quick:
        return [*found, IterativeNewton(), *mine]
    found += [IterativeNewton(), Momentum(), Nesterov(), Chebyshev(), GradientDescentPlusPlus(), ConjugateGradient(),
              ExactLineSearch(), PolyakSteps(), ArmijoSteps()]  # fmt: skip
    if dim <= WIDEST:
        found.append(PreconditionedGradientDescent())
    if question.learners:
        found += Learners.all(slots.spectra.variance, dim, slots.every)
    return found + mine


def identify(model: Any, task: Any, draw: Draw, question: Question | None = None) -> Identified:
    """Every candidate against every member of `model` (or whatever predictor it is).

    Raises:
        ConfigError: the task has no scalar labels, or its prompts do not fit the model.
    """
    question = Question() if question is None else question
    every = question.every(task)
    n_fit = max(LEAST_PROMPTS, min(question.n_fit, question.n_prompts))
    fitting, answers = asked(model, task, n_fit, every, draw.at(0, f"{draw.name}/fit"))
    judging, judged = asked(model, task, question.n_prompts, every, draw.at(0, f"{draw.name}/judge"))
    limit = LIMIT * judging.label_square**0.5
    answers, judged = within(answers, limit), within(judged, limit)
    fitted, left_out = fitted_to(families(fitting, question), fitting, answers, limit)
    return judged_by(fitted, judging, judged, limit, question, left_out, draw)


def asked(model: Any, task: Any, n: int, every: bool, draw: Draw) -> tuple[Slots, Float[Tensor, "M B K"]]:
    """Prompts and what the model says to them.

    Raises:
        ConfigError: it cannot read them.
    """
    pieces = drawn(task, n, every, draw, model)
    try:
        answers = torch.cat([piece.ask(model) for piece in pieces], 1)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            f"{type(model).__name__} cannot read the prompts of {type(task).__name__}: {reason}"
        ) from None
    return joined(pieces), answers


def fitted_to(
    candidates: Sequence[Family], slots: Slots, answers: Float[Tensor, "M B K"], limit: float
) -> tuple[dict[str, Any], dict[str, str]]:
    """The nearest member of every family; and those that could not be fitted, which stop no other."""
    found: dict[str, Any] = {}
    failed: dict[str, str] = {}
    for family in candidates:
        try:
            found[family.name] = fit(family, slots, answers, limit)
        except (RuntimeError, ValueError, ArithmeticError) as error:
            failed[family.name] = f"cannot be fitted: {(str(error).splitlines() or [''])[0]}"
    return found, failed


def judged_by(
    fitted: Mapping[str, Any], slots: Slots, answers: Float[Tensor, "M B K"], limit: float, question: Question,
    left_out: Mapping[str, str], draw: Draw,
) -> Identified:  # fmt: skip
    """The fitted candidates on these prompts."""
    guesses: dict[str, Tensor] = {}
    unstable: dict[str, float] = {}
    left_out = dict(left_out)
    for name, member in fitted.items():
        most = member.family.most_prompts
        some = slots if most is None else slots.cut(0, most)
        try:
            guess = member.guesses(some, limit)
        except (RuntimeError, ValueError, ArithmeticError) as error:
            left_out[name] = f"failed: {(str(error).splitlines() or [''])[0]}"
            continue
        outside = (guess.abs() >= limit) & (answers[:, : guess.shape[1]].abs() < limit)
        share = outside.double().mean().item()
        if share > UNSTABLE:
            unstable[name] = share
        if share > DIVERGED:
            left_out[name] = (
                f"diverges: {100 * share:.2g} % of its guesses are beyond {LIMIT:g} deviations of the labels"
            )
            continue
        guesses[name] = guess
    distances = torch.full((len(guesses), *answers.shape[:2]), torch.nan, dtype=torch.float64)
    similarity = torch.zeros(len(guesses), len(answers), dtype=torch.float64)
    own = errors(answers, slots.target)
    for c, guess in enumerate(guesses.values()):
        n = guess.shape[1]
        distances[c, :, :n] = prompt_distances(guess, answers[:, :n])
        similarity[c] = similarity_of_errors(errors(guess, slots.target[:n]), own[:, :n])
    kept = {name: fitted[name] for name in guesses}
    families = {name: member.family for name, member in kept.items()}
    rules = Rules(
        kinds={name: family.kind for name, family in families.items()},
        groups={name: family.group for name, family in families.items()},
        contains={name: family.contains for name, family in families.items()},
        least_margin=question.least_margin, most_gain=question.most_gain, most_unexplained=question.most_unexplained,
    )  # fmt: skip
    verdicts = judge(list(kept), distances, slots.label_square, rules, draw, _apart(list(guesses.values())))
    return Identified(kept, distances, similarity, guesses, answers, verdicts, unstable, left_out, slots)


def _apart(guesses: Sequence[Tensor]) -> Float[Tensor, "C C M"]:
    """Squared distances of candidates "M b K" from each other on the first b prompts, which both were asked."""
    apart = torch.zeros(len(guesses), len(guesses), len(guesses[0]) if guesses else 0, dtype=torch.float64)
    for (i, one), (j, other) in combinations(enumerate(guesses), 2):
        n = min(one.shape[1], other.shape[1])
        apart[i, j] = apart[j, i] = (one[:, :n] - other[:, :n]).square().mean((1, 2))
    return apart
