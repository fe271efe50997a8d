"""The layer between a trained layer and the gradient step."""

import pytest
import torch

from icl.algorithms.gradient_descent import GradientDescent
from icl.algorithms.ridge import Ridge
from icl.comparisons.interpolated_weights import InterpolatedWeights, halfway
from icl.comparisons.walk import chunks, compare
from icl.constructions.linear_attention_as_gd import linear_attention_as_gd
from icl.models.linear_attention import LinearAttention
from icl.tasks.linear_regression import LinearRegression
from tolerances import EXACT

TASK = LinearRegression(dim=3, n_context=5, noise_std=0.3)
GAMMA = torch.tensor([[1.0, 0.2, 0.0], [0.1, 0.8, -0.1], [0.0, 0.3, 1.2]]).double()


def layer(normalize=False, **step):
    model = LinearAttention(dim=3, normalize=normalize, dtype=torch.float64)
    model.load_state_dict(linear_attention_as_gd(dim=3, n_context=5, normalize=normalize, **step))
    return model


def noisy_layer(draw, n_members=4, normalize=False):
    """The step with every weight moved a little, and the scale of Q (and P) another in every member."""
    model = LinearAttention(dim=3, normalize=normalize, n_seeds=n_members, dtype=torch.float64)
    step = linear_attention_as_gd(dim=3, n_context=5, step_size=0.5, normalize=normalize)
    scale = torch.tensor([1.0, 3.0, -2.0, 0.1])[:n_members, None, None, None]
    for name, weight in model.named_parameters():
        weight.data = step[name] + 0.05 * draw.normal(n_members, *weight.shape[1:])[0]
    model.W_Q.data, model.W_V.data = scale * model.W_Q.data, model.W_V.data / scale
    return model


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("preconditioner", [None, GAMMA])
def test_halfway_from_a_step_to_itself_is_the_step(normalize, preconditioner, draw):
    step = GradientDescent(step_size=0.7, preconditioner=preconditioner)
    model = layer(normalize, step_size=0.7, preconditioner=preconditioner)
    prompt = TASK.sample(6, draw).prompt
    torch.testing.assert_close(halfway(model, step, 5).last(prompt), step(prompt)[-1], **EXACT)
    numbers = compare(InterpolatedWeights(n_prompts=40), model, step, TASK, draw).numbers
    assert numbers["loss_ratio"].item() == pytest.approx(1, rel=1e-10)
    assert numbers["excess_over_worse"].item() == pytest.approx(1, rel=1e-10)


def test_two_steps_meet_in_their_mean(draw):
    """Q is the same, so the step sizes are averaged."""
    between = halfway(layer(step_size=0.2), GradientDescent(step_size=0.6), 5)
    prompt = TASK.sample(6, draw).prompt
    torch.testing.assert_close(between.last(prompt), GradientDescent(step_size=0.4)(prompt)[-1], **EXACT)


def test_the_scale_between_P_and_Q_does_not_matter(draw):
    model = noisy_layer(draw)
    a = halfway(model, GradientDescent(step_size=0.5), 5)
    model.W_Q.data, model.W_O.data = -7 * model.W_Q.data, model.W_O.data / -7
    b = halfway(model, GradientDescent(step_size=0.5), 5)
    torch.testing.assert_close(a.P, b.P, **EXACT)
    torch.testing.assert_close(a.Q, b.Q, **EXACT)


@pytest.mark.parametrize("normalize", [False, True])
def test_a_layer_may_be_the_reference(normalize, draw):
    model, step = noisy_layer(draw, normalize=normalize), {"step_size": 0.7, "preconditioner": GAMMA}
    expected = halfway(model, GradientDescent(**step), 5)
    for reference in (layer(False, **step), layer(True, **step)):
        between = halfway(model, reference, 5)
        torch.testing.assert_close(between.P, expected.P, **EXACT)
        torch.testing.assert_close(between.Q, expected.Q, **EXACT)


def test_numbers_are_those_of_the_averaged_matrices(draw):
    """Against P G Q e_q written out, a member and a prompt at a time."""
    model, step = noisy_layer(draw), GradientDescent(step_size=0.5)
    numbers = compare(InterpolatedWeights(n_prompts=30), model, step, TASK, draw).numbers
    (sample,) = chunks(TASK, 30, 4, draw)
    corner = torch.zeros(4, 4, dtype=torch.float64)
    corner[3, 3] = 1
    identity = torch.eye(4, dtype=torch.float64) - corner
    truth = ((step(sample.prompt)[-1] - sample.target) ** 2).mean().item()
    for m in range(4):
        P, Q = (model.W_O @ model.W_V)[m, 0].detach(), (model.W_K.mT @ model.W_Q)[m, 0].detach()
        size = Q[:3, :3].trace() / 3
        P, Q = (P * size - 0.1 * corner) / 2, (Q / size + identity) / 2
        errors = []
        for b in range(30):
            e = torch.cat([sample.prompt.x[0, b], sample.prompt.y[0, b, :, None]], 1)
            query = torch.cat([sample.prompt.x_query[0, b], e.new_zeros(1)])
            errors.append((-(P @ e.T @ e @ Q @ query)[-1] - sample.target[0, b]) ** 2)
        loss = torch.stack(errors).mean().item()
        own = ((model(sample.prompt)[-1, m] - sample.target[0]) ** 2).mean().item()
        assert numbers["loss_ratio"][m].item() == pytest.approx(loss / truth, rel=1e-10)
        assert numbers["excess_over_worse"][m].item() == pytest.approx(loss / max(own, truth), rel=1e-10)


def test_what_is_no_layer_and_no_step_is_refused(draw):
    deep = LinearAttention(dim=3, n_layers=2, dtype=torch.float64)
    with pytest.raises(ValueError, match="LinearAttention is not one layer"):
        compare(InterpolatedWeights(n_prompts=5), deep, GradientDescent(step_size=0.5), TASK, draw)
    for reference in (Ridge(ridge=0.1), GradientDescent(step_size=[0.5, 0.2], steps=2)):
        with pytest.raises(ValueError, match="is no gradient descent with one constant step"):
            compare(InterpolatedWeights(n_prompts=5), layer(step_size=0.5), reference, TASK, draw)
