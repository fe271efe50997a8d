"""Named rules against one backward pass a batch; trends on a small surface; refusal of foreign runs."""

from dataclasses import replace

import torch

from icl.comparisons.walk import cut
from icl.models.surrogate_mlt import SurrogateMlt
from icl.objectives.answer import Answer
from icl.probes.gradient_accuracy import GradientAccuracy, left_out, named_rules
from icl.rng import Draw
from icl.tasks.multilevel_translation import MultilevelTranslation

TASK = MultilevelTranslation(n_letters=3, n_levels=2, n_characters=72)


def test_named_rules_are_those_of_a_backward_pass_for_each_batch():
    draw = Draw([0, 1], "t")
    sample, out = TASK.sample(6, draw), left_out(TASK, draw, 0.4, 1, 3)
    found = named_rules(TASK, sample, out)
    for m in range(2):
        for k in range(3):
            part = cut(sample, 2 * k, 2 * k + 2)
            fields = (part.prompt.keys, part.prompt.values, part.prompt.shown, part.prompt.source)
            keys, values, shown, source = (t[m : m + 1] for t in fields)
            shown = ~out[m, k].flatten()[keys]
            prompt = replace(part.prompt, keys=keys, values=values, shown=shown, source=source)
            model = SurrogateMlt(n_letters=3, n_levels=2)
            loss = Answer()(model, replace(part, prompt=prompt, target=part.target[m : m + 1]))
            (gradient,) = torch.autograd.grad(loss.sum(), [model.W])
            assert torch.equal(found[m, k], (-gradient[0, 0]).argmax(0))


def test_the_rate_is_that_of_the_affected_books_alone():
    out = left_out(replace(TASK, n_levels=3), Draw([0], "t"), 0.34, 2, 5)
    assert out.sum(-1).tolist() == [[[3, 3, 0]] * 5]
    assert left_out(TASK, Draw([0], "t"), 0.0, 1, 5).sum(-1).tolist() == [[[1, 0]] * 5]


def test_one_rule_is_named_and_a_book_left_out_is_not():
    probe, own = GradientAccuracy(draws=20), Draw([0, 1], "t")
    assert probe.accuracy(TASK, own, 0.0, 1, 4).min() >= 0.8
    assert probe.accuracy(TASK, own, 1.0, 2, 4).max() <= 0.4
