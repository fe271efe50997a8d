"""Mutual information from the joint law of whole sequences; what a probe says to a model that it cannot read."""

import itertools

import pytest
import torch
from probed import run_of

from icl.probes.attention_information import AttentionInformation, accuracy, correlation, mutual_information
from icl.probes.probe import probe
from icl.rng import Draw
from icl.tasks.causal_graph import stationary
from tolerances import EXACT

PARENTS = [-1, 0, 0, 2, -1]


def by_enumeration(pi, i, j):
    """From the probability of every sequence of five tokens."""
    mu, joint = stationary(pi[None])[0], torch.zeros(2, 2).double()
    for tokens in itertools.product(range(2), repeat=5):
        p = 1.0
        for at, parent in enumerate(PARENTS):
            p = p * (mu[tokens[at]] if parent < 0 else pi[tokens[parent], tokens[at]])
        joint[tokens[j], tokens[i]] += p
    return (joint.square() / (joint.sum(1, keepdim=True) * joint.sum(0))).sum() - 1


def test_it_is_that_of_the_joint_law(draw):
    pi = draw.uniform(3, 2, 2)[0] + 0.1
    pi = pi / pi.sum(-1, keepdim=True)
    found = mutual_information(pi, PARENTS)
    for i, j in itertools.combinations(range(5), 2):
        by_hand = torch.stack([by_enumeration(table, i, j) for table in pi]).mean()
        torch.testing.assert_close(found[i, j], by_hand, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(found, found.mT, **EXACT)
    assert found[4, :4].abs().max() == 0


def test_accuracy_and_correlation_are_of_rows_with_a_parent():
    parents = torch.tensor([[-1, 0, 1]])
    value = torch.tensor([[[9.0, 9, 9], [1, 9, 9], [2, 3, 9]]]).double()
    assert accuracy(value, parents).tolist() == [1.0]
    assert accuracy(-value, parents).tolist() == [0.5]  # row 1 has one earlier token only
    assert correlation(value, 2 * value + 1, parents).item() == pytest.approx(1)
    assert correlation(value, -value, parents).item() == pytest.approx(-1)


def test_another_model_is_one_line(tmp_path):
    with pytest.raises(ValueError, match="reads a disentangled_transformer on causal_graph"):
        probe(AttentionInformation(), run_of(tmp_path), Draw([0], "probe"))
