"""The probe of the causal graph on weights written down: an induction head is found, zero weights are not."""

import pytest
import torch

from icl.models.disentangled_transformer import DisentangledTransformer
from icl.probes.causal_attention import CausalAttention, best_order
from icl.rng import Draw
from icl.tasks.causal_graph import CausalGraph
from opened import Opened

GRAPH = [-1, 0, 0, 1, 3, 2]


def model_of(written: bool) -> DisentangledTransformer:
    model = DisentangledTransformer(dim=3, n_context=6, dtype=torch.float64).requires_grad_(False)
    if written:
        for child, parent in enumerate(GRAPH):
            model.A[0][0, 0, 3 + child, 3 + (parent if parent >= 0 else child)] = 100.0
        model.copied_block(0).copy_(50.0 * torch.eye(3))
        model.A[1][0, 0, :3, [3, 9]] = -200.0
        model.W[0, :, model.A[1].shape[-1] : model.A[1].shape[-1] + 3] = 1.5 * torch.eye(3)
    return model


def numbers(model, task) -> dict[str, float]:
    found = CausalAttention(n_prompts=1000).measure_run(
        Opened(task, {0: model}), Draw([0], "probe", dtype=torch.float64)
    )
    assert set(found.numbers) == set(CausalAttention.numbers)
    return {name: value.flatten()[0].item() for name, value in found.numbers.items()}


def test_an_induction_head_that_is_written_down_is_found():
    found = numbers(model_of(True), CausalGraph(dim=3, n_context=6, graph=GRAPH))
    assert found["edge_accuracy"] == 1
    assert found["parent_attention"] == pytest.approx(1, abs=1e-9)
    assert found["matching_attention"] > 0.999
    assert found["copied_diagonal"] == pytest.approx(50)
    assert found["n_edges"] == 5
    assert found["gap"] > 0
    assert found["gap_share"] < 1


def test_zero_weights_have_the_gap_of_the_uniform_guess_and_its_attention():
    found = numbers(model_of(False), CausalGraph(dim=3, n_context=6, graph=GRAPH))
    assert found["gap_share"] == pytest.approx(1)
    expected = sum(1 / (i + 1) for i, parent in enumerate(GRAPH) if parent >= 0) / 5
    assert found["parent_attention"] == pytest.approx(expected)
    assert found["copied_diagonal"] == 0


def test_heads_go_to_the_parents_that_they_found():
    parents = torch.tensor([[[-1, -1], [-1, -1], [0, 1]]])
    attention = torch.zeros(1, 2, 4, 4)
    attention[0, 0, 2, 1], attention[0, 1, 2, 0] = 1.0, 1.0
    assert best_order(attention, parents) == [1, 0]


def test_other_models_are_refused():
    with pytest.raises(ValueError, match="disentangled_transformer"):
        CausalAttention().measure_run(
            Opened(CausalGraph(dim=3, n_context=6), {0: torch.nn.Linear(2, 2)}), Draw([0], "p")
        )
