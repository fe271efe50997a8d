"""Everything that is asked of one model, as numbers for claims, curves for figures, and verdicts for a person."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from icl.comparisons.identification.filters import LEAST_SQUARES
from icl.comparisons.identification.fitting import within
from icl.comparisons.identification.identify import LIMIT, Identified, judged_by
from icl.comparisons.identification.question import Question
from icl.comparisons.identification.separation import Shifts, Spectrum, response, separating
from icl.comparisons.identification.similarity import (
    fitted_weights,
    similarity_of_weights,
    weight_distance,
)
from icl.comparisons.identification.slots import slots_of
from icl.comparisons.identification.verdict import Verdict
from icl.core import Prompt
from icl.rng import Draw

N_CONTEXTS, N_QUERIES = 64, 1280  # contexts whose weights are recovered from 4 D queries each; 16 or more with many
N_FLAT = 64  # prompts a flat spectrum
N_SHIFTED = 500  # prompts a shift
FEW = 4  # contexts, prompts a flat spectrum, shifts of a quick look


@dataclass(frozen=True)
class Separated:
    """The model on the prompts that were designed to tell rivals apart."""

    spectrum: Spectrum
    found: Identified


@dataclass(frozen=True)
class Weights:
    """The weights that a model's guesses at 4 D queries of a context imply, against those of every candidate."""

    r_squared: Float[Tensor, "M"]
    distance: Mapping[str, Float[Tensor, "M"]]
    similarity: Mapping[str, Float[Tensor, "M"]]


def rivals_of(found: Identified) -> list[list[str]]:
    """A list a model: its contenders, or, where one was named, that one and the runner-up; filters of the spectrum."""
    rivals = []
    for verdict in found.verdicts:
        own = [name for name in verdict.names if found.fitted[name].family.kind == LEAST_SQUARES]
        if len(own) < 2:
            near = found.distances[:, len(rivals)].nanmean(-1).argsort().tolist()
            others = [found.names[c] for c in near if found.fitted[found.names[c]].family.kind == LEAST_SQUARES]
            skip = set(own) | set(verdict.also)
            own = (own + [name for name in others if name not in skip])[:2]
        rivals.append(own)
    return rivals


def separate(
    found: Identified, model: Any, task: Any, question: Question, reaches: Sequence[float], draw: Draw
) -> list[Separated]:
    """For every reach: prompts on which the rivals differ most, and who predicts what the model says there."""
    rivals, shifts = rivals_of(found), Shifts.of(found.slots, task)
    limit = LIMIT * found.slots.label_square**0.5
    unexplained = sum(v.distance for v in found.verdicts) / len(found.verdicts)
    filters = {name: f for name, f in found.fitted.items() if f.family.kind in (LEAST_SQUARES, "zero")}
    separated = []
    for reach in reaches:
        own = draw.at(0, f"{draw.name}/separate/{reach}")
        spectrum = separating(rivals, found.fitted, shifts, reach, unexplained, limit, own)
        slots = shifts.slots(spectrum.eigenvalues.expand(question.n_prompts, -1), own)
        own_limit = LIMIT * slots.label_square**0.5
        answers = within(slots.ask(model), own_limit)
        judged = judged_by(filters, slots, answers, own_limit, question, found.left_out, own)
        separated.append(Separated(spectrum, judged))
    return separated


def responses(
    found: Identified, model: Any, task: Any, draw: Draw, n_prompts: int = N_FLAT
) -> tuple[list[float], dict[str, Tensor], Tensor]:
    """Shrinkage on flat spectra of every least-squares candidate, and of the model."""
    own = {name: f for name, f in found.fitted.items() if f.family.kind == LEAST_SQUARES}
    limit = LIMIT * found.slots.label_square**0.5
    at, model_s, theirs = response(
        own, Shifts.of(found.slots, task), model, limit, n_prompts, draw.at(0, f"{draw.name}/flat")
    )
    return at, theirs, model_s


def shifted(
    found: Identified, model: Any, shifts: Mapping[str, Any], n_prompts: int, draw: Draw
) -> dict[str, dict[str, Float[Tensor, "M"]]]:
    """shift -> predictor -> E (ŷ − y)² / E y² at the query; `model` among the predictors."""
    fast = {name: f for name, f in found.fitted.items() if f.family.most_prompts is None}
    rows = {}
    for shift, task in shifts.items():
        sample = task.sample(min(N_SHIFTED, n_prompts), draw.at(0, f"{draw.name}/{shift}"))
        slots = slots_of(sample.prompt, False, sample.target)
        answers = slots.ask(model)
        limit = LIMIT * slots.label_square**0.5
        guesses = {"model": within(answers, limit)}
        guesses |= {name: f.guesses(slots, limit) for name, f in fast.items()}
        rows[shift] = {
            name: (g - slots.target).square().mean((1, 2)) / slots.label_square for name, g in guesses.items()
        }
    return rows


def induced_weights(found: Identified, model: Any, draw: Draw, most: int = N_CONTEXTS) -> Weights:
    """Weights by least squares at 4 D fresh queries, which are queries of other prompts of the same task."""
    prompt = found.slots.prompt
    dim = prompt.x.shape[-1]
    n_queries = 4 * dim
    n = min(most, max(16, N_QUERIES // n_queries), prompt.x.shape[1])
    picks = torch.arange(n * n_queries) % prompt.x.shape[1]
    picks = (picks.view(n_queries, n) + 1 + torch.arange(n)).T % prompt.x.shape[1]
    queries = prompt.x_query[0, picks]  # n, Q, D
    many = Prompt(
        prompt.x[:, :n].repeat_interleave(n_queries, 1), prompt.y[:, :n].repeat_interleave(n_queries, 1),
        queries.flatten(0, 1)[None],
    )  # fmt: skip
    slots = slots_of(many, False, torch.zeros(1, n * n_queries))
    limit = LIMIT * found.slots.label_square**0.5
    points = queries.double().cpu()

    def weights(guesses: Float[Tensor, "#M BQ 1"]) -> tuple[Tensor, Tensor]:
        return fitted_weights(within(guesses[..., 0], limit).unflatten(1, (n, n_queries)), points)

    own, r_squared = weights(slots.ask(model))
    distance, similarity = {}, {}
    for name, fitted in found.fitted.items():
        if fitted.family.most_prompts is None:
            theirs, _ = weights(fitted.guesses(slots, limit))
            distance[name], similarity[name] = weight_distance(own, theirs), similarity_of_weights(own, theirs)
    return Weights(r_squared, distance, similarity)


@dataclass(frozen=True)
class Evidence:
    """What was found about one model, and all of it."""

    found: Identified
    separated: Sequence[Separated] = ()
    response: tuple[list[float], dict[str, Tensor], Tensor] | None = None
    shifts: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    weights: Weights | None = None

    @property
    def verdicts(self) -> list[Verdict]:
        """One a model: that on the training prompts, less the names that designed prompts rule out.

        They do where some contender explains the model there as well, and another one is told from it.
        """
        return [self._verdict(m) for m in range(len(self.found.verdicts))]

    def _verdict(self, m: int) -> Verdict:
        verdict = self.found.verdicts[m]
        for separated in self.separated:
            there = separated.found.verdicts[m]
            left = tuple(name for name in verdict.names if name in there.names)
            if verdict.status in ("family", "undecided") and there.status != "none" and left:
                verdict = replace(verdict, names=left, status="named" if len(left) == 1 else verdict.status)
        return verdict


def collect(
    model: Any, found: Identified, task: Any, question: Question, reaches: Sequence[float],
    shifts: Mapping[str, Any], draw: Draw,
) -> Evidence:  # fmt: skip
    """Everything beside the first verdicts."""
    n_flat, n_contexts = (FEW, FEW) if question.quick else (N_FLAT, N_CONTEXTS)
    if question.quick:
        shifts = dict(list(shifts.items())[:FEW])
    return Evidence(
        found,
        separate(found, model, task, question, reaches, draw) if reaches else (),
        responses(found, model, task, draw, n_flat),
        shifted(found, model, shifts, question.n_prompts, draw),
        induced_weights(found, model, draw, n_contexts),
    )
