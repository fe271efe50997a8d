"""Kendall's tau against scipy's, and the scores of attention of arms that are known."""

import scipy.stats
import torch

from icl.algorithms.fine_tune import FineTune
from icl.algorithms.reordered_context import ReorderedContext
from icl.comparisons.attention_similarity import AttentionSimilarity, cosine, kendall_tau
from icl.models.causal_lm_tokens import context, demo_positions
from icl.rng import Draw
from text_prompts import member
from tolerances import EXACT


def test_kendall_is_scipy_s(draw):
    x, y = draw.normal(4, 9)[0], draw.normal(4, 9)[0]
    expected = [scipy.stats.kendalltau(a, b).statistic for a, b in zip(x, y, strict=True)]
    torch.testing.assert_close(kendall_tau(x, y), torch.tensor(expected, dtype=torch.float64), **EXACT)


def test_zeros_beyond_a_query_change_no_cosine(draw):
    a, b = draw.normal(1, 2, 3, 5)[0], draw.normal(1, 2, 3, 5)[0]
    longer = [torch.nn.functional.pad(t, (0, 4)) for t in (a, b)]
    torch.testing.assert_close(cosine(*longer), cosine(a, b), **EXACT)


def test_demonstrations_are_found_in_the_context():
    prompt = member().prompt
    tokens, _ = context(prompt)
    demos = torch.cat([prompt.demo(k) for k in range(prompt.n_demos)])
    assert torch.equal(tokens[demo_positions(prompt)], demos)


def test_the_same_context_and_no_training_are_the_two_ends():
    one = member(n_demos=1)
    draw, question = Draw([0], "t"), AttentionSimilarity()
    same = question.measure(one, ReorderedContext(), one.task, draw).numbers
    assert same["sim_am_after"].item() > 1 - 1e-5
    assert same["kendall"].isnan().all(), "nothing was trained"
    still = question.measure(one, FineTune(lr=1e-12), one.task, draw).numbers
    assert abs(still["sim_am_change"].item()) < 1e-6
    assert -1 <= still["kendall"].item() <= 1
    assert set(still) == set(AttentionSimilarity.numbers)
