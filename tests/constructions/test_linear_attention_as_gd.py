"""Weights on paper against the algorithm, at every step."""

import pytest
import torch

from icl.algorithms.gradient_descent import GradientDescent
from icl.algorithms.gradient_descent_plus_plus import GradientDescentPlusPlus
from icl.constructions.linear_attention_as_gd import (
    linear_attention_as_gd,
    linear_attention_as_gd_plus_plus,
    merged,
)
from icl.core import Prompt
from icl.models.linear_attention import LinearAttention

EQUAL = {"rtol": 1e-12, "atol": 1e-12}


def prompts(draw, dim=5, n_context=12, n_outputs=None, batch_size=7):
    out = () if n_outputs is None else (n_outputs,)
    x, x_query = draw.normal(batch_size, n_context, dim), draw.normal(batch_size, dim)
    return Prompt(x, draw.normal(batch_size, n_context, *out), x_query)


def built(state, *, dim=5, n_layers=1, **options):
    model = LinearAttention(dim=dim, n_layers=n_layers, dtype=torch.float64, **options)
    model.load_state_dict(state)
    return model


@pytest.mark.parametrize("n_layers", [1, 4, 30])
@pytest.mark.parametrize("preconditioned", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
def test_every_attention_layer_is_one_gd_step(n_layers, preconditioned, normalize, draw):
    gamma = torch.eye(5).double() + 0.1 * draw.normal(5, 5)[0] if preconditioned else None
    sizes = {"dim": 5, "n_layers": n_layers, "normalize": normalize}
    model = built(linear_attention_as_gd(**sizes, n_context=12, step_size=0.2, preconditioner=gamma), **sizes)
    algorithm = GradientDescent(step_size=0.2, steps=n_layers, preconditioner=gamma)
    prompt = prompts(draw)
    torch.testing.assert_close(model(prompt), algorithm(prompt), **EQUAL)
    torch.testing.assert_close(model.last(prompt), algorithm(prompt)[-1], **EQUAL)


def test_a_hundred_layers_with_eight_outputs_and_a_start(draw):
    """The source's own check: D = 12, 8 outputs, 45 points, 100 steps, a start that is not zero."""
    prompt, w_init = prompts(draw, dim=12, n_context=45, n_outputs=8), draw.normal(12, 8)[0]
    sizes = {"dim": 12, "n_layers": 100, "n_outputs": 8}
    model = built(linear_attention_as_gd(**sizes, n_context=45, step_size=0.3, w_init=w_init), **sizes)
    algorithm = GradientDescent(step_size=0.3, steps=100, w_init=w_init)
    torch.testing.assert_close(model(prompt), algorithm(prompt), **EQUAL)


def test_a_layer_may_have_its_own_step_and_preconditioner(draw):
    gammas = [torch.eye(5).double() + 0.2 * draw.normal(5, 5)[0] for _ in range(3)]
    constants = {"step_size": [0.1, 0.3, -0.2], "preconditioner": gammas, "w_init": draw.normal(5)[0]}
    model = built(linear_attention_as_gd(dim=5, n_context=12, n_layers=3, **constants), n_layers=3)
    prompt = prompts(draw)
    torch.testing.assert_close(model(prompt), GradientDescent(steps=3, **constants)(prompt), **EQUAL)


def test_one_layer_serves_a_tied_stack_of_a_hundred(draw):
    state = linear_attention_as_gd(dim=5, n_context=12, step_size=0.2)
    model, prompt = built(state, n_layers=100, tied=True), prompts(draw)
    torch.testing.assert_close(model(prompt), GradientDescent(step_size=0.2)(prompt, steps=100), **EQUAL)
    torch.testing.assert_close(built(state)(prompt, steps=100), model(prompt), **EQUAL)


def test_damping_is_a_smaller_step(draw):
    model, prompt = built(linear_attention_as_gd(dim=5, n_context=12, step_size=0.4)), prompts(draw)
    expected = GradientDescent(step_size=0.75 * 0.4)(prompt, steps=50)
    torch.testing.assert_close(model(prompt, steps=50, damping=0.75), expected, **EQUAL)


@pytest.mark.parametrize("n_layers", [1, 2, 6])
@pytest.mark.parametrize("n_outputs", [None, 3])
@pytest.mark.parametrize("normalize", [False, True])
def test_every_attention_layer_is_one_step_of_gd_plus_plus(n_layers, n_outputs, normalize, draw):
    sizes = {"dim": 5, "n_layers": n_layers, "n_outputs": n_outputs, "normalize": normalize}
    constants = {"step_size": 0.2, "curvature_step_size": 0.05}
    model = built(linear_attention_as_gd_plus_plus(**sizes, n_context=12, **constants), **sizes)
    prompt = prompts(draw, n_outputs=n_outputs)
    torch.testing.assert_close(model(prompt), GradientDescentPlusPlus(steps=n_layers, **constants)(prompt), **EQUAL)


def test_steps_of_gd_plus_plus_may_differ(draw):
    constants = {"step_size": [0.1, 0.4], "curvature_step_size": [0.2, -0.1]}
    model = built(linear_attention_as_gd_plus_plus(dim=5, n_context=12, n_layers=2, **constants), n_layers=2)
    prompt = prompts(draw)
    torch.testing.assert_close(model(prompt), GradientDescentPlusPlus(steps=2, **constants)(prompt), **EQUAL)


def test_the_merged_layers_are_the_same(draw):
    state = linear_attention_as_gd(dim=5, n_context=12, n_layers=3, step_size=0.2, w_init=draw.normal(5)[0])
    prompt = prompts(draw)
    model = built(merged(state), n_layers=3, parametrization="merged")
    torch.testing.assert_close(model(prompt), built(state, n_layers=3)(prompt), **EQUAL)


def test_the_preconditioner_can_be_read_back(draw):
    gamma = draw.normal(5, 5)[0]
    model = built(linear_attention_as_gd(dim=5, n_context=12, step_size=0.3, preconditioner=gamma))
    torch.testing.assert_close(model.preconditioner()[0], 0.3 / 12 * gamma, **EQUAL)


def test_one_constant_a_layer_or_one_for_all():
    with pytest.raises(ValueError, match="2 constants for n_layers=3"):
        linear_attention_as_gd(dim=5, n_context=12, n_layers=3, step_size=[0.1, 0.2])


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"dim": 0}, "dim=0 must be >= 1"),
        ({"n_layers": 0}, "n_layers=0 must be >= 1"),
        ({"preconditioner": torch.eye(4)}, r"preconditioner has shape \(4, 4\), dim=5 needs \(5, 5\)"),
        ({"preconditioner": [torch.eye(5), torch.eye(3)]}, r"preconditioner has shape \(3, 3\)"),
        ({"w_init": torch.zeros(4)}, r"w_init has shape \(4,\), dim=5 needs \(5, 1\)"),
    ],
)
def test_constants_of_another_shape_are_refused(wrong, line):
    with pytest.raises(ValueError, match=line):
        linear_attention_as_gd(**{"dim": 5, "n_context": 12, "n_layers": 2, "step_size": 0.1} | wrong)
