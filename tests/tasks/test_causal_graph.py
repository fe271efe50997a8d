"""Sequences of a causal graph: the law of their transitions, their graphs, and graphs that cannot be."""

import pytest
import torch

from icl.rng import Draw
from icl.tasks.causal_graph import CausalGraph, stationary
from icl.tasks.parent_maps import random_tree


def frequencies_of(task: CausalGraph, child: int, parent: int, n: int = 4000):
    """The tokens at two positions, one-hot, and the sample; every prompt has its own π."""
    sample = task.sample(n, Draw([0], "law", dtype=torch.float64))
    return sample.prompt.x[0, :, child], sample.prompt.x[0, :, parent], sample


@pytest.mark.parametrize("graph", ["chain", [-1, 0, 0, 1, -1, 4]])
def test_a_query_that_repeats_a_parent_tells_the_law_of_the_child(graph):
    """Where x_{p(i)} = query, x_i is drawn from the target: its mean over prompts is the target's."""
    task = CausalGraph(dim=3, n_context=6, graph=graph)
    parents = task.parents(Draw([0], "x"))[0, :, 0].tolist()
    for child, parent in enumerate(parents):
        if parent < 0:
            continue
        value, of, sample = frequencies_of(task, child, parent)
        same = (of * sample.prompt.x_query[0]).sum(-1) > 0
        expected = sample.target[0][same]
        hit = (value[same] * expected).sum(-1).mean()  # E Σ_v π_v² if the child follows π
        assert abs(hit - expected.square().sum(-1).mean()) < 0.02


def test_a_position_that_is_no_parent_tells_less():
    task = CausalGraph(dim=3, n_context=6, graph=[-1, 0, 0, 1, -1, 4])
    value, of, sample = frequencies_of(task, 4, 3)
    same = (of * sample.prompt.x_query[0]).sum(-1) > 0
    expected = sample.target[0][same]
    assert (value[same] * expected).sum(-1).mean() < expected.square().sum(-1).mean() - 0.1


def test_the_stationary_distribution_is_that_of_the_eigenvector(draw):
    pi = draw.uniform(7, 3, 3) + 0.1
    pi = pi / pi.sum(-1, keepdim=True)
    mu = stationary(pi)
    torch.testing.assert_close(torch.einsum("mbs,mbst->mbt", mu, pi), mu, rtol=1e-10, atol=1e-12)
    periodic = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]], dtype=torch.float64)
    torch.testing.assert_close(stationary(periodic), torch.full((1, 2), 0.5).double())


def test_every_seed_has_its_own_tree_at_every_step():
    task = CausalGraph(dim=3, n_context=9, graph="random_tree")
    together = task.parents(Draw([3, 4], "train", step=7))
    assert torch.equal(together[1:], task.parents(Draw([4], "probe", step=0)))
    assert not torch.equal(together[0], together[1])
    assert task.own_law
    assert not CausalGraph(dim=3, n_context=9).own_law


def test_a_random_parent_is_uniform_over_those_before_and_the_root():
    u = torch.rand(20_000, 4, generator=torch.Generator().manual_seed(0))
    parents = random_tree(u)[..., 0]
    assert (parents[:, 0] == -1).all()
    shares = torch.stack([(parents[:, 3] == p).double().mean() for p in (-1, 0, 1, 2)])
    assert (shares - 0.25).abs().max() < 0.02


def test_two_parents_have_a_table_of_squares():
    sample = CausalGraph(dim=3, n_context=5, n_parents=2).sample(4, Draw([0, 1], "t"))
    assert sample.target.shape == (2, 4, 3)
    torch.testing.assert_close(sample.target.sum(-1), torch.ones(2, 4))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"graph": [-1, 2, 1]}, r"graph\[1\]=2: a parent must come before its child .* 0..0.*no cycle"),
        ({"graph": [0, 0, 1]}, r"graph\[0\]=0: a parent must come before its child"),
        ({"graph": [-1, 0]}, "graph has 2 positions, n_context is 3"),
        ({"graph": [-1, [0, 0], 1]}, r"graph\[1\]=\[0, 0\] must be -1"),
        ({"graph": "chian"}, "must be one of chain, pairs, random_tree"),
        ({"graph": "random_tree", "n_parents": 2}, "n_parents=2"),
        ({"concentration": 0.0}, "concentration=0.0"),
        ({"dim": 1}, "dim=1"),
    ],
)
def test_graphs_that_cannot_be(fields, message):
    with pytest.raises(ValueError, match=message):
        CausalGraph(**{"dim": 3, "n_context": 3} | fields)
