"""Gradient descent against autograd, its limit, its special cases."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from icl.algorithms.gradient_descent import GradientDescent
from icl.algorithms.least_squares import LeastSquares
from icl.core import Prompt
from icl.rng import Draw
from icl.tasks.linear_regression import LinearRegression
from icl.tasks.linear_regression_theory import NotKnown
from icl.theory.rotation_fits import best_rotation
from tolerances import EXACT


def prompts(draw, n_outputs=None, dim=4, n_context=9, batch_size=3):
    out = () if n_outputs is None else (n_outputs,)
    x, x_query = draw.normal(batch_size, n_context, dim), draw.normal(batch_size, dim)
    return Prompt(x, draw.normal(batch_size, n_context, *out), x_query)


def by_autograd(prompt, which, *, step_sizes, gammas, w):
    """One prompt by differentiating its loss."""
    x, y, x_query = prompt.x[0, which], prompt.y[0, which], prompt.x_query[0, which]
    guesses = [x_query @ w]
    for step_size, gamma in zip(step_sizes, gammas):
        w = w.detach().requires_grad_()
        loss = (x @ w - y).square().sum() / (2 * len(x))
        w = w - step_size * gamma @ torch.autograd.grad(loss, w)[0]
        guesses.append(x_query @ w)
    return torch.stack(guesses).detach()


@pytest.mark.parametrize("n_outputs", [None, 2])
@pytest.mark.parametrize("preconditioned", [False, True])
@pytest.mark.parametrize("started", [False, True])
def test_every_step_is_a_step_along_the_gradient_of_the_loss(n_outputs, preconditioned, started, draw):
    prompt, out = prompts(draw, n_outputs), () if n_outputs is None else (n_outputs,)
    gamma = draw.normal(4, 4)[0] if preconditioned else None
    w_init = draw.normal(4, *out)[0] if started else None
    algorithm = GradientDescent(step_size=0.3, steps=5, preconditioner=gamma, w_init=w_init)
    gammas = [torch.eye(4).double() if gamma is None else gamma] * 5
    start = torch.zeros(4, *out).double() if w_init is None else w_init
    for which in range(3):
        expected = by_autograd(prompt, which, step_sizes=[0.3] * 5, gammas=gammas, w=start)
        torch.testing.assert_close(algorithm(prompt)[:, 0, which], expected, **EXACT)


def test_every_step_may_have_its_own_size_and_preconditioner(draw):
    prompt, sizes, gammas = prompts(draw), [0.1, -0.2, 0.5], list(draw.normal(3, 4, 4)[0])
    algorithm = GradientDescent(step_size=sizes, steps=3, preconditioner=gammas)
    expected = by_autograd(prompt, 1, step_sizes=sizes, gammas=gammas, w=torch.zeros(4).double())
    torch.testing.assert_close(algorithm(prompt)[:, 0, 1], expected, **EXACT)
    torch.testing.assert_close(algorithm(prompt, steps=2), algorithm(prompt)[:3], rtol=0, atol=0)


def test_the_identity_as_preconditioner_is_plain(draw):
    prompt = prompts(draw)
    plain = GradientDescent(step_size=0.2, steps=4)
    same = replace(plain, preconditioner=torch.eye(4))
    torch.testing.assert_close(same(prompt), plain(prompt), **EXACT)


@pytest.mark.parametrize("n_outputs", [None, 2])
@pytest.mark.parametrize("started", [False, True])
def test_it_answers_with_weights_if_asked_to(n_outputs, started, draw):
    prompt, out = prompts(draw, n_outputs), () if n_outputs is None else (n_outputs,)
    labels = GradientDescent(step_size=0.2, steps=4, w_init=draw.normal(4, *out)[0] if started else None)
    weights = replace(labels, returns="weights")(prompt)
    assert weights.shape == (5, 1, 3, 4, *out)
    torch.testing.assert_close(torch.einsum("tmbd...,mbd->tmb...", weights, prompt.x_query), labels(prompt), **EXACT)


def test_prompts_as_the_last_axis_in_memory_give_the_same(draw):
    x, y, x_query = draw.normal(9, 4, 3)[:, None], draw.normal(9, 3), draw.normal(4, 3)
    x = x[:, 0].permute(0, 3, 1, 2)  # (1, 3, 9, 4) with stride 1 along the prompts
    prompt = Prompt(x, y.mT, x_query.mT)
    plain = Prompt(*(t.contiguous() for t in (prompt.x, prompt.y, prompt.x_query)))
    assert prompt.x.stride(1) == 1 != plain.x.stride(1)
    algorithm = GradientDescent(step_size=0.3, steps=5)
    torch.testing.assert_close(algorithm(prompt), algorithm(plain), **EXACT)


def test_entry_zero_is_zero_and_steps_goes_on(draw):
    prompt, algorithm = prompts(draw), GradientDescent(step_size=0.2, steps=2)
    assert algorithm(prompt).shape == (3, 1, 3)
    assert algorithm(prompt)[0].abs().max() == 0
    longer = algorithm(prompt, steps=7)
    torch.testing.assert_close(longer[:3], algorithm(prompt), rtol=0, atol=0)
    torch.testing.assert_close(longer, GradientDescent(step_size=0.2, steps=7)(prompt), rtol=0, atol=0)


@pytest.mark.parametrize("n_context", [3, 20])
def test_many_steps_reach_least_squares_of_least_norm(n_context, draw):
    prompt = prompts(draw, n_context=n_context)
    limit = GradientDescent(step_size=0.4, steps=3_000)(prompt)[-1]
    torch.testing.assert_close(limit, LeastSquares()(prompt)[-1], rtol=1e-8, atol=1e-8)


def test_a_newton_step_reaches_least_squares_at_once(draw):
    prompt = prompts(draw, batch_size=1)
    hessian = prompt.x[0, 0].T @ prompt.x[0, 0] / 9
    newton = GradientDescent(step_size=1.0, preconditioner=torch.linalg.inv(hessian))
    torch.testing.assert_close(newton(prompt)[-1], LeastSquares()(prompt)[-1], **EXACT)


def test_a_bank_of_streams_is_its_members(draw):
    prompt = Prompt(draw.normal(2, 3, 9, 4)[0], draw.normal(2, 3, 9)[0], draw.normal(2, 3, 4)[0])
    algorithm = GradientDescent(step_size=0.3, steps=3)
    for m in range(2):
        own = Prompt(prompt.x[m : m + 1], prompt.y[m : m + 1], prompt.x_query[m : m + 1])
        torch.testing.assert_close(algorithm(prompt)[:, m : m + 1], algorithm(own), **EXACT)


def test_the_best_step_is_the_tasks():
    gamma = torch.diag(torch.tensor([1.0, 2.0])).double()
    task = SimpleNamespace(n_context=8, best_step_size=lambda: 0.7, best_preconditioner=lambda: gamma)
    assert GradientDescent.best_for(task=task, steps=3) == GradientDescent(step_size=0.7, steps=3)
    best = GradientDescent.best_preconditioned_for(task=task)
    assert (best.step_size, best.steps) == (1.0, 1)
    torch.testing.assert_close(best.preconditioner, 8 * gamma, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"step_size": 0.1, "steps": -1}, "steps=-1"),
        ({"step_size": math.nan}, "step_size="),
        ({"step_size": [0.1, math.inf], "steps": 2}, "step_size="),
        ({"step_size": [0.1, 0.2], "steps": 3}, "entries of step_size"),
        ({"step_size": 0.1, "steps": 2, "preconditioner": [torch.eye(4)]}, "entries of preconditioner"),
    ],
)
def test_impossible_constants_are_refused(bad, says):
    with pytest.raises(ValueError, match=says):
        GradientDescent(**bad)


def test_impossible_steps_are_refused(draw):
    for algorithm in (GradientDescent(step_size=[0.1, 0.2], steps=2), GradientDescent(step_size=0.1)):
        with pytest.raises(ValueError, match="steps=-1"):
            algorithm(prompts(draw), steps=-1)
    with pytest.raises(ValueError, match="steps=3 must be <= 2"):
        GradientDescent(step_size=[0.1, 0.2], steps=2)(prompts(draw), steps=3)


def test_the_best_rotation_is_applied_in_the_basis_in_which_inputs_are_white():
    """The error of the weights after L steps is (I − A S)^L w, with S of the white inputs."""
    task = LinearRegression(dim=3, n_context=12, covariance_spectrum=[2.0, 1.0, 0.5], w_covariance="inverse_covariance")
    algorithm = GradientDescent.best_rotated_for(task=task, steps=4)
    sample = task.sample(5, Draw([0], "r", dtype=torch.float64))
    T, A = task.mixing(), best_rotation(12, 3, 4)
    z = torch.linalg.solve(T, sample.prompt.x[0].mT).mT
    once = torch.eye(3).double() - A @ (z.mT @ z / 12)
    left = torch.linalg.matrix_power(once, 4) @ (sample.w_star[0] @ T)[..., None]
    query = torch.linalg.solve(T, sample.prompt.x_query[0].mT).mT
    torch.testing.assert_close(
        sample.target[0] - algorithm(sample.prompt)[-1][0], (left[..., 0] * query).sum(-1), **EXACT
    )


def test_the_best_rotation_needs_gaussian_inputs():
    with pytest.raises(NotKnown, match="inputs=gaussian"):
        GradientDescent.best_rotated_for(task=LinearRegression(dim=2, n_context=6, inputs="uniform"), steps=2)
