"""The surrogate against the translation itself, the loss against the source's formula, and resuming."""

from dataclasses import replace

import pytest
import torch

from icl.config import Train
from icl.models.surrogate_mlt import TINY, SurrogateMlt
from icl.objectives.answer import Answer
from icl.rng import Draw
from icl.tasks.multilevel_translation import MultilevelTranslation
from icl.training.bank import fit
from tolerances import EXACT

TASK = MultilevelTranslation(n_letters=3, n_levels=3, n_characters=20)


def surrogate(**fields):
    return SurrogateMlt(n_letters=3, n_levels=3, n_seeds=2, dtype=torch.float64, **fields)


def sample_of(task=TASK, **changes):
    return replace(task, **changes).sample(3, Draw([0, 1], "t", dtype=torch.float64))


@pytest.mark.parametrize("books", ["fixed", "fresh"])
def test_without_weights_it_translates_what_the_context_says_at_every_level(books):
    sample, model = sample_of(books=books), surrogate(temperature=200.0)
    trajectory = model(sample.prompt)
    assert torch.equal(trajectory[0].argmax(-1), sample.prompt.source)
    assert torch.equal(trajectory[1:].argmax(-1), sample.target.permute(2, 0, 1, 3))
    assert trajectory[1:].max(-1).values.exp().min() > 1 - 1e-9


def test_with_the_books_as_weights_it_needs_no_context():
    sample, model = sample_of(dropout=1.0), surrogate(temperature=200.0)
    books = TASK.fixed_books(Draw([0, 1], "t"))
    with torch.no_grad():
        model.W.scatter_(2, books[:, :, None], 1.0)
    assert torch.equal(model(sample.prompt)[1:].argmax(-1), sample.target.permute(2, 0, 1, 3))


def by_the_book(W, C, source, target, n, tau):
    """Def. 5.2 for one string, column by column, in the source's own arrangement (n² rows, a column a position)."""
    V = torch.nn.functional.one_hot(source, n * n).to(W).T
    for level in range(len(W)):
        shifted = torch.zeros_like(V)
        for t in range(V.shape[1]):
            this, following = V[:, t].view(n, n), V[:, (t + 1) % V.shape[1]].view(n, n)
            shifted[:, t] = torch.outer(this.sum(0), following.sum(1)).flatten()
        V = torch.softmax(tau * (C[level] + W[level]), 0) @ shifted
    return -torch.log(V[target, torch.arange(len(target))] + TINY).mean()


def test_loss_and_gradient_are_those_of_the_definition():
    sample, model = sample_of(dropout=0.4), surrogate(temperature=2.0)
    model.reset(Draw([0, 1], "init", dtype=torch.float64))
    loss = Answer()(model, sample)
    (gradient,) = torch.autograd.grad(loss.sum(), [model.W])
    C = model.context(sample.prompt)
    for m in range(2):
        W = model.W[m].detach().requires_grad_()
        slow = (
            sum(by_the_book(W, C[m, b], sample.prompt.source[m, b], sample.target[m, b, -1], 3, 2.0) for b in range(3))
            / 3
        )
        torch.testing.assert_close(loss[m], slow, **EXACT)
        torch.testing.assert_close(gradient[m], torch.autograd.grad(slow, W)[0], **EXACT)


def test_the_context_is_the_rules_that_are_shown():
    sample = sample_of(dropout=0.5)
    C = surrogate().context(sample.prompt)
    assert C.sum() == sample.prompt.shown.sum()
    m, b, i = 1, 2, 7
    level, key = divmod(sample.prompt.keys[m, b, i].item(), 9)
    assert C[m, b, level, sample.prompt.values[m, b, i], key] == sample.prompt.shown[m, b, i]


def test_layer_wise_trains_the_books_with_a_rule_missing():
    task = replace(TASK, one_by_one=True)
    model = surrogate(layer_wise=True, temperature=2.0)
    sample = task.sample(3, Draw([0, 1], "t", step=9 + 4, dtype=torch.float64))  # rule 4 of book 1
    (gradient,) = torch.autograd.grad(Answer()(model, sample).sum(), [model.W])
    assert [bool(g.any()) for g in gradient[0]] == [False, True, False]


def test_one_step_is_clipped_gradient_descent():
    task = replace(TASK, one_by_one=True, pool=1)
    model = surrogate(temperature=2.0)
    model.reset(Draw([0, 1], "init", dtype=torch.float64))
    (gradient,) = torch.autograd.grad(
        Answer()(model, task.sample(1, Draw([0, 1], "train", dtype=torch.float64))).sum(), [model.W]
    )
    expected = (model.W.detach() - 50 * gradient).clamp(0, 1)
    fit(task, model, Answer(), Train(steps=1, batch_size=1, optimizer="sgd", lr=50.0), seeds=[0, 1])
    torch.testing.assert_close(model.W.detach(), expected, **EXACT)
    assert (expected == 0).any()


def test_context_teaches_a_book_and_no_context_does_not():
    def rules_learned(**changes):
        task = replace(MultilevelTranslation(n_letters=3, n_levels=2, n_characters=180, pool=1), **changes)
        model = SurrogateMlt(n_letters=3, n_levels=2, n_seeds=2)
        fit(task, model, Answer(), Train(steps=7 * 2 * 9, batch_size=1, optimizer="sgd", lr=100.0), seeds=[0, 1])
        return (model.W.argmax(2) == task.fixed_books(Draw([0, 1], "t"))).double().mean().item()

    assert rules_learned(one_by_one=True) == 1.0
    assert rules_learned(dropout=1.0) < 0.6


@pytest.mark.parametrize(
    ("fields", "word"), [({"temperature": 0.0}, "temperature=0.0"), ({"n_letters": 0}, "n_letters=0")]
)
def test_bad_sizes_are_refused(fields, word):
    with pytest.raises(ValueError, match=word):
        SurrogateMlt(**({"n_letters": 3, "n_levels": 2} | fields))
