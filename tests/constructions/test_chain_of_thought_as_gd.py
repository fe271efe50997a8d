"""The weights on paper against the algorithm, at every thought."""

import math

import pytest
import torch

from icl.algorithms.gradient_descent import GradientDescent
from icl.constructions.chain_of_thought_as_gd import chain_of_thought_as_gd
from icl.models.chain_of_thought import ChainOfThought
from icl.rng import Draw
from icl.tasks.weight_prediction import WeightPrediction


def model_of(**options):
    model = ChainOfThought(dim=5, dtype=torch.float64)
    model.load_state_dict(chain_of_thought_as_gd(dim=5, **options))
    return model.requires_grad_(False)


@pytest.mark.parametrize("preconditioned", [False, True])
@pytest.mark.parametrize("call", ["forward", "recompute"])
def test_every_thought_is_a_step_of_gradient_descent(preconditioned, call, draw):
    gamma = torch.eye(5).double() + 0.1 * draw.normal(5, 5)[0] if preconditioned else None
    prompt = WeightPrediction(dim=5, n_context=20).sample(7, Draw([0], "t", dtype=torch.float64)).prompt
    expected = GradientDescent(step_size=0.4, steps=40, preconditioner=gamma, returns="weights")(prompt)
    found = getattr(model_of(step_size=0.4, preconditioner=gamma), call)(prompt, steps=40)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_a_taught_thought_is_the_next_one(draw):
    prompt = WeightPrediction(dim=5, n_context=12).sample(7, draw).prompt
    taught = GradientDescent(step_size=0.4, steps=10, returns="weights")(prompt)
    model = model_of(step_size=0.4)
    torch.testing.assert_close(model.teacher_forced(prompt, taught[:-1]), model.thought(taught[1:]), rtol=0, atol=1e-12)


def test_the_two_layers_may_be_rescaled_against_each_other(draw):
    prompt = WeightPrediction(dim=5, n_context=12).sample(7, draw).prompt
    model = model_of(step_size=0.3)
    expected = model(prompt)
    model.V.mul_(4)
    model.W.div_(4)
    torch.testing.assert_close(model(prompt), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"dim": 0}, "dim=0"), ({"step_size": math.nan}, "step_size=nan"),
     ({"preconditioner": torch.eye(3)}, r"preconditioner has shape \(3, 3\), dim=5 needs \(5, 5\)")],
)  # fmt: skip
def test_a_shape_that_does_not_fit_is_refused_in_one_line(fields, message):
    with pytest.raises(ValueError, match=message) as error:
        chain_of_thought_as_gd(**({"dim": 5, "step_size": 0.1} | fields))
    assert "\n" not in str(error.value)
