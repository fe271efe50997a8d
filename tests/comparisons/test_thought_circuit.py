"""The circuit's errors of weights that are moved by a known amount."""

import pytest
import torch

from icl.algorithms.gradient_descent import GradientDescent
from icl.comparisons.thought_circuit import ThoughtCircuit
from icl.comparisons.walk import compare
from icl.config import ConfigError
from icl.constructions.chain_of_thought_as_gd import chain_of_thought_as_gd
from icl.models.chain_of_thought import ChainOfThought
from icl.models.linear_attention import LinearAttention
from icl.objectives.teacher import Teacher
from icl.rng import Draw
from icl.tasks.weight_prediction import WeightPrediction

TASK = WeightPrediction(dim=3, n_context=9)
GD = GradientDescent(step_size=0.4, steps=10, returns="weights")
ZERO = ("product_error", "label_error", "leak")


def measured(model, reference=GD):
    return compare(ThoughtCircuit(n_prompts=500), model, reference, TASK, Draw([0], "c", dtype=torch.float64))


def paper(**options):
    model = ChainOfThought(dim=3, dtype=torch.float64)
    model.load_state_dict(chain_of_thought_as_gd(dim=3, step_size=0.4, **options))
    return model.requires_grad_(False)


@pytest.mark.parametrize("scale", [1.0, 7.0])
def test_the_construction_has_no_error_whatever_its_scale(scale):
    model = paper()
    model.V.mul_(scale)
    model.W.div_(scale)
    numbers = measured(model).numbers
    assert all(numbers[name].item() < 1e-14 for name in (*ZERO, "teacher_forced_loss"))


def test_a_preconditioned_reference_has_its_own_circuit(draw):
    gamma = torch.eye(3).double() + 0.1 * draw.normal(3, 3)[0]
    reference = GradientDescent(step_size=0.4, preconditioner=gamma, returns="weights")
    assert all(measured(paper(preconditioner=gamma), reference).numbers[name].item() < 1e-14 for name in ZERO)
    error = measured(paper(preconditioner=gamma)).numbers["product_error"].item()
    assert error == pytest.approx(0.4 * (gamma - torch.eye(3)).norm().item())


def test_each_number_sees_its_own_part():
    other_step = measured(paper(), GradientDescent(step_size=0.3, returns="weights")).numbers
    assert other_step["product_error"].item() == pytest.approx(0.1 * 3**0.5)
    assert other_step["label_error"].item() == pytest.approx(0.1 * 3**0.5)
    leaking = paper()
    leaking.V[0, -1, 0] = 0.04  # from x to the flag; |V31| = 0.4 √3
    numbers = measured(leaking).numbers
    assert numbers["leak"].item() == pytest.approx(0.04 / (0.4 * 3**0.5))
    assert numbers["product_error"].item() < 1e-14
    blind = paper()
    blind.W[0, 0, 0] = 5.0  # read only where a thought has x, which a true one has not
    assert measured(blind).numbers["leak"].item() == 0


def test_the_teacher_forced_loss_is_the_objective():
    model = ChainOfThought(dim=3, n_thoughts=4, n_seeds=2, dtype=torch.float64)
    model.reset(Draw([0, 1], "init", dtype=torch.float64))
    found = measured(model)
    fresh = Teacher(teacher=GD)(model, TASK.sample(20_000, Draw([7], "other", dtype=torch.float64)))
    width = found.intervals["teacher_forced_loss"][:, 1] - found.intervals["teacher_forced_loss"][:, 0]
    assert ((found.numbers["teacher_forced_loss"] - fresh).abs() < 2 * width).all()


def test_other_models_are_refused():
    with pytest.raises(ConfigError, match="LinearAttention is no chain of thought"):
        measured(LinearAttention(dim=3))
