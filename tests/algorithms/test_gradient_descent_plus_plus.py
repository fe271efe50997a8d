"""GD++ against its layers of tokens, its polynomials, plain gradient descent."""

import math

import pytest
import torch

from icl.algorithms.gradient_descent import GradientDescent
from icl.algorithms.gradient_descent_plus_plus import GradientDescentPlusPlus
from icl.core import Prompt
from tolerances import EXACT


def prompts(draw, n_outputs=None):
    out = () if n_outputs is None else (n_outputs,)
    return Prompt(draw.normal(3, 9, 4), draw.normal(3, 9, *out), draw.normal(3, 4))


@pytest.mark.parametrize("n_outputs", [None, 2])
def test_the_guesses_are_those_of_tokens_that_move_layer_by_layer(n_outputs, draw):
    """x ← (I − γS/N) x, y_j ← y_j − (η/N) Σ y_i ⟨x_i, x_j⟩ for context and query; the guess is −y_query."""
    prompt, etas, gammas = prompts(draw, n_outputs), [0.1, 0.3, 0.2], [0.05, -0.1, 0.2]
    trajectory = GradientDescentPlusPlus(step_size=etas, curvature_step_size=gammas, steps=3)(prompt)
    for which in range(3):
        x = torch.cat([prompt.x[0, which], prompt.x_query[0, which][None]])
        y = prompt.y[0, which].reshape(9, -1)
        y = torch.cat([y, torch.zeros(1, y.shape[1]).double()])
        for step, (eta, gamma) in enumerate(zip(etas, gammas)):
            scores = x @ x[:9].T / 9
            y, x = y - eta * scores @ y[:9], x - gamma * scores @ x[:9]
            torch.testing.assert_close(trajectory[step + 1, 0, which].reshape(-1), -y[-1], **EXACT)


def test_the_error_is_a_polynomial_of_the_spectrum(draw):
    """w* − w = U a(λ) Uᵀ w* with a ← a (1 − η λ q²), q ← q (1 − γ λ q²), λ the eigenvalues of S/N."""
    x, w_star, x_query = draw.normal(1, 9, 4), draw.normal(4)[0], draw.normal(1, 4)
    prompt = Prompt(x, x @ w_star, x_query)
    eigenvalues, U = torch.linalg.eigh(x[0, 0].T @ x[0, 0] / 9)
    a = q = torch.ones(4).double()
    expected = []
    for _ in range(5):
        expected.append(x_query[0, 0] @ U @ ((1 - a) * (U.T @ w_star)))
        a, q = a * (1 - 0.3 * eigenvalues * q**2), q * (1 - 0.1 * eigenvalues * q**2)
    algorithm = GradientDescentPlusPlus(step_size=0.3, curvature_step_size=0.1, steps=4)
    torch.testing.assert_close(algorithm(prompt)[:, 0, 0], torch.stack(expected), **EXACT)


def test_without_curvature_it_is_gradient_descent(draw):
    prompt = prompts(draw)
    plain = GradientDescent(step_size=0.3, steps=4)
    torch.testing.assert_close(
        GradientDescentPlusPlus(step_size=0.3, curvature_step_size=0.0, steps=4)(prompt),
        plain(prompt),
        **EXACT,
    )


def test_impossible_constants_are_refused(draw):
    with pytest.raises(ValueError, match="curvature_step_size"):
        GradientDescentPlusPlus(step_size=0.1, curvature_step_size=math.nan)
    with pytest.raises(ValueError, match="entries of curvature_step_size"):
        GradientDescentPlusPlus(step_size=0.1, curvature_step_size=[0.1], steps=2)
    with pytest.raises(ValueError, match="steps=-1"):
        GradientDescentPlusPlus(step_size=0.1, curvature_step_size=0.1)(prompts(draw), steps=-1)
