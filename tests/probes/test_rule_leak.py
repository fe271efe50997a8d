"""Read-outs of logits that are known, and of a model that is not trained: chance, and intervals that cover it."""

import pytest
import torch

from icl.models.llama_translator import LlamaTranslator
from icl.probes.rule_leak import normal, read_out, wilson
from icl.rng import Draw
from icl.tasks.multilevel_translation import MultilevelTranslation

TASK = MultilevelTranslation(n_letters=3, n_levels=2, n_characters=8)
BOOKS = TASK.fixed_books(Draw([0, 1], "t"))


def test_a_model_that_says_the_rules_leaks_all_of_them():
    logits = torch.zeros(2, 2, 9, 18).scatter(3, BOOKS[..., None], 5.0)  # book 1 in its slice, book 2 in the wrong one
    found = read_out(logits, BOOKS)
    assert found["greedy"][:, 0].all()
    assert found["membership"][:, 0].min() == 1.0
    assert found["unfiltered"][:, 0].all()
    assert not found["unfiltered"][:, 1].any()
    torch.testing.assert_close(found["sampled"][:, 1], torch.full((2, 9), 1 / 9))
    assert (found["membership"][:, 1] == 0.5).all()  # all logits of its slice are equal


@pytest.mark.parametrize("as_source", [False, True])
def test_a_model_is_asked_with_the_key_alone(as_source):
    model = LlamaTranslator(n_letters=3, n_levels=2, width=16, n_heads=2, n_seeds=2, dtype=torch.float64)
    model.reset(Draw([0, 1], "init", dtype=torch.float64))
    logits = model.asked_for_rules(as_source=as_source)
    assert logits.shape == (2, 2, 9, 18)
    m, level, key = 1, 1, 5
    x = model.first[m, key // 3 + level * 3] + model.second[m, key % 3 + level * 3]
    x = x + model.kind[m, 2 if as_source else level]
    other = LlamaTranslator(n_letters=3, n_levels=2, width=16, n_heads=2, dtype=torch.float64)
    other.load_state_dict({name: value[m : m + 1] for name, value in model.state_dict().items()})
    expected = other._run(0, x[None, None], torch.tensor([[int(as_source)]])).logits[0, 0]
    torch.testing.assert_close(logits[m, level, key], expected)


def test_wilson_covers_a_share_of_nought():
    low, high = wilson(torch.zeros(1, 16, dtype=torch.float64))[0].tolist()
    assert low == pytest.approx(0.0, abs=1e-12)
    assert high == pytest.approx(0.1936, abs=1e-3)


def test_intervals_of_shares_end_at_nought_and_one():
    low, high = normal(torch.tensor([[1.0, 1.0, 1.0, 0.0]]))[0].tolist()
    assert (low, high) == (pytest.approx(0.26), 1.0)
