"""Whether the gradient of the surrogate's loss names the rules that the context leaves out.

References:
    Zhu, Panigrahi, Arora 2025, On the power of context-enhanced learning in LLMs, arXiv:2503.01821, Fig. 6
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from icl.comparisons.measured import Curve, Measured
from icl.comparisons.translated import own_draw
from icl.comparisons.walk import cut
from icl.core import Sample
from icl.models.surrogate_mlt import SurrogateMlt
from icl.objectives.answer import Answer
from icl.rng import Draw
from icl.runs import Run
from icl.tasks.phrasebooks import Rules

CHUNK = 80  # strings of all members at a time, so that the activations of a level stay in cache


@dataclass(frozen=True, kw_only=True)
class GradientAccuracy:
    """At W = 0, with rules left out of the context, how often is argmax(−∂L/∂W_1[:, c]) = π_1(c), c left out of book 1?

    One surface over dropout rates and batches with book 1 alone affected, and one over rates and the number of books
    affected, with `books_batch` strings a batch. ⌈rate n²⌉ rules are left out of each affected book (at least one),
    the same for all strings of a batch, anew in each of `draws` draws. A number a member is its mean over draws:

        rise_with_rate, rise_with_books, fall_with_batch    the largest step against the trend, anywhere
        one_rule, all_rules                                 accuracy with one and with all rules of book 1 left out,
                                                            one string a batch
    """

    numbers: ClassVar[tuple[str, ...]] = (
        "rise_with_rate", "rise_with_books", "fall_with_batch", "one_rule", "all_rules"
    )  # fmt: skip
    rates: Sequence[float] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    batches: Sequence[int] = (1, 3, 8)
    book_rates: Sequence[float] = (0.1, 0.2, 0.5)
    books_batch: int = 1
    draws: int = 60
    n_characters: int | None = None  # null: 8 n², as each rule is then needed four times a string

    def measure_run(self, run: Run, draw: Draw) -> Measured:
        task = replace(run.task, dropout=0.0, one_by_one=False, wrong=False, pool=None, held_out=0,
                       n_characters=self.n_characters or 8 * run.task.n_pairs)  # fmt: skip
        own, books = replace(own_draw(run, draw), dtype=draw.dtype), range(1, task.n_levels + 1)
        by_batch = self._surface([(rate, 1, batch) for batch in self.batches for rate in self.rates], task, own)
        by_book = self._surface([(rate, n, self.books_batch) for n in books for rate in self.book_rates], task, own)
        by_batch = by_batch.unflatten(1, (len(self.batches), -1))
        by_book = by_book.unflatten(1, (len(books), -1))
        rises = [rise(by_batch, 2), rise(by_book, 2)]
        numbers = {
            "rise_with_rate": torch.stack(rises).amax(0), "rise_with_books": rise(by_book, 1),
            "fall_with_batch": rise(-by_batch, 1), "one_rule": by_batch[:, 0, 0], "all_rules": by_batch[:, 0, -1],
        }  # fmt: skip
        curves = {
            "batch": accuracy_map(self.rates, self.batches, by_batch, "strings a batch, book 1 alone affected"),
            "books": accuracy_map(self.book_rates, books, by_book, "books affected, from the first on"),
        }
        return Measured(numbers=numbers, curves=curves)

    def _surface(self, points: Sequence[tuple[float, int, int]], task: Any, own: Draw) -> Float[Tensor, "M K"]:
        """Accuracy at every (rate, books, batch); the same draws at all of them."""
        return torch.stack([self.accuracy(task, own, *point) for point in points], 1)

    def accuracy(self, task: Any, own: Draw, rate: float, books: int, batch: int) -> Float[Tensor, "M"]:
        """Mean over draws of the share of the rules left out of book 1 that the gradient names."""
        sample = task.sample(batch * self.draws, own)
        at_once = max(1, CHUNK // (batch * len(own.seeds)))
        out = left_out(task, own, rate, books, self.draws)  # (M, draws, d, n²)
        named = torch.cat([
            named_rules(task, cut(sample, low * batch, high * batch), out[:, low:high])
            for low, high in ((low, min(low + at_once, self.draws)) for low in range(0, self.draws, at_once))
        ], 1)  # fmt: skip
        right = named == task.fixed_books(own)[:, None, 0]
        return (right & out[:, :, 0]).sum((1, 2)).double() / out[:, :, 0].sum((1, 2))


def left_out(task: Any, own: Draw, rate: float, books: int, draws: int) -> Bool[Tensor, "M K d n2"]:
    """Where a rule is left out: max(1, rate n²) rules of each of the first `books` books."""
    n2 = task.n_pairs
    order = own.at(1).uniform(draws, task.n_levels, n2).argsort(-1).argsort(-1)
    affected = torch.arange(task.n_levels, device=order.device) < books
    return (order < max(1, round(rate * n2))) & affected[:, None]


def named_rules(task: Any, sample: Sample, out: Bool[Tensor, "M K d n2"]) -> Int[Tensor, "M K n2"]:
    """The largest entry of each column of −∂L/∂W_1 at W = 0, for each of K batches of the sample.

    A batch is a member of one bank, with a W of its own: one backward pass gives all gradients.
    """
    prompt, (n_seeds, draws) = sample.prompt, out.shape[:2]
    keys, values, source, target = (
        t.unflatten(1, (draws, -1)).flatten(0, 1) for t in (prompt.keys, prompt.values, prompt.source, sample.target)
    )
    shown = ~out.flatten(2).flatten(0, 1)[:, None].expand(-1, keys.shape[1], -1).gather(2, keys)
    model = SurrogateMlt(n_letters=task.n_letters, n_levels=task.n_levels, n_seeds=n_seeds * draws, device=keys.device)
    loss = Answer()(model, Sample(Rules(keys, values, shown, source), target, None))
    (gradient,) = torch.autograd.grad(loss.sum(), [model.W])
    return (-gradient[:, 0]).argmax(1).unflatten(0, (n_seeds, draws))


def rise(surface: Float[Tensor, "M R K"], axis: int) -> Float[Tensor, "M"]:
    """The largest step up between neighbours along an axis."""
    return surface.diff(dim=axis).flatten(1).amax(1)


def accuracy_map(rates: Sequence[float], rows: Sequence[int], accuracy: Float[Tensor, "M R K"], y_label: str) -> Curve:
    """The mean over members, over rates and `rows`."""
    return Curve(
        kind="map", x=rates, y=list(rows), x_label="share of the rules left out", y_label=y_label,
        title="How often the gradient names the rule left out", model=accuracy.mean(0).tolist(),
        note="mean over members",
    )  # fmt: skip
