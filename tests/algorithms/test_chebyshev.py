"""Chebyshev iteration against numpy's polynomials, against gradient steps at their roots, and the minimax property."""

import numpy as np
import pytest
import torch
from numpy.polynomial.chebyshev import chebval

from icl.algorithms.chebyshev import Chebyshev
from icl.algorithms.gradient_descent import GradientDescent
from icl.core import Prompt
from icl.tasks.linear_regression import LinearRegression
from icl.tasks.linear_regression_theory import NotKnown
from icl.theory.residual_polynomials import residual
from tolerances import EXACT

LOW, HIGH = 0.3, 2.1


def diagonal_prompt(eigenvalues, w_star):
    """N = D inputs √(N λ_d) e_d, so that S/N is diagonal and ŷ reads one coordinate of w."""
    dim = len(eigenvalues)
    x = (dim * eigenvalues).sqrt().diag()[None, None].expand(1, dim, -1, -1)
    return Prompt(x, x @ w_star, torch.eye(dim).double()[None])


def test_every_step_leaves_the_chebyshev_polynomial(draw):
    eigenvalues, w_star = torch.linspace(0.1, 2.5, 9).double(), draw.normal(9)[0]
    left = w_star - Chebyshev(low=LOW, high=HIGH, steps=6)(diagonal_prompt(eigenvalues, w_star))[:, 0]
    to_one = ((HIGH + LOW) / 2 - eigenvalues) / ((HIGH - LOW) / 2)
    at_zero = (HIGH + LOW) / (HIGH - LOW)
    for t in range(7):
        T = np.eye(7)[t]
        p = torch.as_tensor(chebval(to_one.numpy(), T) / chebval(at_zero, T))
        torch.testing.assert_close(left[t], p * w_star, **EXACT)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_it_ends_where_gradient_steps_at_the_roots_end(steps, draw):
    prompt = Prompt(draw.normal(3, 7, 4), draw.normal(3, 7, 2), draw.normal(3, 4))
    nodes = np.cos((2 * np.arange(steps) + 1) * np.pi / (2 * steps))
    sizes = (1 / ((HIGH + LOW) / 2 + (HIGH - LOW) / 2 * nodes)).tolist()
    torch.testing.assert_close(
        Chebyshev(low=LOW, high=HIGH, steps=steps)(prompt)[-1],
        GradientDescent(step_size=sizes, steps=steps)(prompt)[-1],
        rtol=1e-9,
        atol=1e-11,
    )


def test_no_other_steps_have_a_smaller_maximum_on_the_interval(draw):
    grid, steps = torch.linspace(LOW, HIGH, 400).double(), 4
    best = 1 - Chebyshev(low=LOW, high=HIGH, steps=steps)(diagonal_prompt(grid, torch.ones(400).double()))[-1, 0]
    nodes = torch.cos((2 * torch.arange(steps) + 1) * torch.pi / (2 * steps)).double()
    sizes = 1 / ((HIGH + LOW) / 2 + (HIGH - LOW) / 2 * nodes)
    for other in sizes * (1 + 0.2 * draw.normal(200, steps)[0]):
        assert residual(grid, other).abs().max() > best.abs().max()


def test_the_interval_of_a_task_holds_its_share_of_eigenvalues(draw):
    task = LinearRegression(dim=4, n_context=12, input_scale=1.5)
    found = Chebyshev.for_spectrum_of(task=task, inside=0.8)
    x = task.sample(20_000, draw).prompt.x[0]
    eigenvalues = torch.linalg.eigvalsh(x.mT @ x / 12).flatten()
    assert (eigenvalues < found.low).double().mean().item() == pytest.approx(0.1, abs=0.01)
    assert (eigenvalues > found.high).double().mean().item() == pytest.approx(0.1, abs=0.01)


def test_bad_intervals_are_refused(draw):
    for bad in ({"low": 0.0}, {"high": 0.1}, {"high": float("inf")}, {"steps": -1}):
        with pytest.raises(ValueError, match=f"{next(iter(bad))}="):
            Chebyshev(**({"low": 0.3, "high": 2.1} | bad))
    with pytest.raises(ValueError, match="covariance_spectrum=null"):
        Chebyshev.for_spectrum_of(
            task=LinearRegression(dim=2, n_context=5, covariance_spectrum=[1.0, 0.5], w_covariance="inverse_covariance")
        )
    with pytest.raises(NotKnown, match="noise_std=0"):
        Chebyshev.for_spectrum_of(task=LinearRegression(dim=2, n_context=5, noise_std=0.1))
