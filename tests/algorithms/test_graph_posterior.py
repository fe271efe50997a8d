"""The posterior by counting in a loop, and a model that knows nothing loses to it."""

import pytest
import torch

from icl.algorithms.graph_posterior import GraphPosterior
from icl.rng import Draw
from icl.tasks.causal_graph import CausalGraph
from tolerances import EXACT


@pytest.mark.parametrize("n_parents", [1, 2])
@pytest.mark.parametrize("graph", ["chain", "tree"])
def test_it_counts_what_followed_the_query(n_parents, graph):
    written = {1: [-1, 0, 0, 2, -1, 1], 2: [-1, -1, [0, 1], [2, 0], -1, [3, 4]]}[n_parents]
    task = CausalGraph(dim=3, n_context=6, graph="chain" if graph == "chain" else written, n_parents=n_parents)
    prompt = task.sample(5, Draw([0], "t", dtype=torch.float64)).prompt
    found = GraphPosterior.best_for(task=task)(prompt)
    parents = task.parents(Draw([0], "x"))[0].tolist()
    tokens, query = prompt.x[0].argmax(-1).tolist(), prompt.x_query[0].argmax(-1).tolist()
    for b in range(5):
        last = [*tokens[b], query[b]][-n_parents:]
        counts = [0.1, 0.1, 0.1]
        for i, own in enumerate(parents):
            if own[0] >= 0 and [tokens[b][p] for p in own] == last:
                counts[tokens[b][i]] += 1
        expected = (torch.tensor(counts, dtype=torch.float64) / sum(counts)).log()
        torch.testing.assert_close(found[1, 0, b], expected, **EXACT)
    assert not found[0].any()


def test_a_graph_a_seed_is_refused():
    with pytest.raises(ValueError, match="random_tree differs by seed"):
        GraphPosterior.best_for(task=CausalGraph(dim=3, n_context=6, graph="random_tree"))
