"""Teacher forcing against the definition: a sequence a thought, by hand."""

import pytest
import torch

from icl.algorithms.gradient_descent import GradientDescent
from icl.constructions.chain_of_thought_as_gd import chain_of_thought_as_gd
from icl.models.chain_of_thought import ChainOfThought
from icl.models.linear_attention import LinearAttention
from icl.objectives.teacher import Teacher
from icl.rng import Draw
from icl.tasks.weight_prediction import WeightPrediction
from tolerances import EXACT

GD = GradientDescent(step_size=0.4, returns="weights")


def sample_of(seeds=(0, 1)):
    return WeightPrediction(dim=3, n_context=5).sample(4, Draw(seeds, "t", dtype=torch.float64))


def test_it_is_the_sum_over_thoughts_and_rows():
    model = ChainOfThought(dim=3, n_thoughts=3, n_seeds=2, init_scale=0.3, dtype=torch.float64)
    model.reset(Draw([0, 1], "init", dtype=torch.float64))
    sample = sample_of()
    x, y, total = sample.prompt.x, sample.prompt.y, torch.zeros(2).double()
    w, Z = torch.zeros(2, 4, 3).double(), model.sequence(sample.prompt)
    for _ in range(3):
        w = w - 0.4 * torch.einsum("mbnd,mbn->mbd", x, torch.einsum("mbnd,mbd->mbn", x, w) - y) / 5
        V, W = model.V[:, None], model.W[:, None]
        found = (Z + V @ Z @ Z.mT @ W @ Z / 5)[..., -1]
        true = torch.cat([torch.zeros(2, 4, 4).double(), w, torch.ones(2, 4, 1).double()], -1)
        total += 0.5 * (found - true).square().sum(-1).mean(-1)
        Z = torch.cat([Z, true[..., None]], -1)
    torch.testing.assert_close(Teacher(teacher=GD)(model, sample), total, **EXACT)
    fewer = Teacher(teacher=GD, n_thoughts=2)(model, sample)
    assert (fewer < total).all()


def test_it_is_zero_for_the_construction_alone():
    model = ChainOfThought(dim=3, dtype=torch.float64)
    model.load_state_dict(chain_of_thought_as_gd(dim=3, step_size=0.4))
    assert Teacher(teacher=GD)(model, sample_of()).max() < 1e-25
    assert Teacher(teacher=GradientDescent(step_size=0.3, returns="weights"))(model, sample_of()).min() > 1e-3


def test_what_cannot_be_taught_is_refused_in_one_line():
    with pytest.raises(ValueError, match="returns=weights"):
        Teacher(teacher=GradientDescent(step_size=0.4))
    with pytest.raises(ValueError, match="n_thoughts=0"):
        Teacher(teacher=GD, n_thoughts=0)
    with pytest.raises(ValueError, match="LinearAttention has no thoughts"):
        Teacher(teacher=GD)(LinearAttention(dim=3), sample_of())
