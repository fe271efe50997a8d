"""The probe on weights that are the solution, and on selections that no weights make."""

import pytest
import torch

from icl.algorithms.max_margin import constraints_of, smallest_frobenius
from icl.core import Prompt
from icl.models.single_query_attention import SingleQueryAttention
from icl.probes.max_margin_direction import Case, MaxMarginDirection
from icl.rng import Draw
from icl.tasks.token_separation import TokenSeparation
from opened import Opened


def model_with(p) -> SingleQueryAttention:
    model = SingleQueryAttention(dim=12, dtype=torch.float64).requires_grad_(False)
    model.W.copy_(p[None, :, None])
    model.v.copy_(Draw([0], "v", dtype=torch.float64).normal(12))
    return model


def test_the_solution_itself_has_cosine_one_and_the_smallest_norm():
    task = TokenSeparation(dim=12, n_context=3)
    x = task.sample(4, Draw([0], "train", dtype=torch.float64).at(0)).prompt.x[0]
    rows, _ = constraints_of(x.numpy(), torch.tensor([0, 1, 2, 0]).numpy(), torch.ones(4, 1).numpy())
    best = torch.from_numpy(smallest_frobenius(rows).weights)
    states = {step: model_with(float(step) * best / best.norm()) for step in (0, 10, 20, 60)}
    run, draw = Opened(task, states, batch_size=4), Draw([0], "p", dtype=torch.float64)
    found = MaxMarginDirection(size=20, rising=[10, 20, 60]).measure_run(run, draw).numbers
    assert set(found) == set(MaxMarginDirection.numbers)
    for name in ("cosine", "frobenius_ratio", "nuclear_ratio"):
        assert found[name].item() == pytest.approx(1, abs=1e-9)
    assert found["least_rise"].item() == pytest.approx(0, abs=1e-9)
    assert 0 <= found["globally_optimal"].item() <= found["locally_optimal"].item() <= 1
    never = MaxMarginDirection(size=100).measure_run(run, draw).numbers
    assert never["cosine"].isnan().all()


def test_an_infeasible_selection_names_sequence_and_token():
    """One covariate: the largest token of one sequence and the smallest of another cannot both be selected."""
    x = torch.tensor([[[[1.0], [2.0]], [[1.0], [2.0]]]])
    prompt = Prompt(x, x[..., :0], x[:, :, 0])
    case = Case.of(prompt, torch.ones(1, 2, 1), torch.tensor([[1, 0]]), 0, "seed 0")
    with pytest.raises(ValueError, match=r"seed 0: the attention SVM is infeasible: token [01] of sequence [01]"):
        case.solved(nuclear=False)


def test_impossible_sizes_are_refused():
    with pytest.raises(ValueError, match="size=0"):
        MaxMarginDirection(size=0)
