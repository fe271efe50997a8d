"""Guesses at every prefix against one call a prefix, step by step, and against numpy; close to singular inputs."""

import numpy as np
import pytest
import torch

from icl.algorithms import prefixes
from icl.algorithms.averaging import Averaging
from icl.algorithms.bayes import Bayes
from icl.algorithms.chebyshev import Chebyshev
from icl.algorithms.conjugate_gradient import ConjugateGradient
from icl.algorithms.gradient_descent import GradientDescent
from icl.algorithms.least_squares import LeastSquares, prefix_by_prefix
from icl.algorithms.momentum import Momentum
from icl.algorithms.nesterov import Nesterov
from icl.algorithms.ridge import Ridge
from icl.core import Prompt, every_prefix
from icl.rng import Draw

GAMMA = torch.tensor([[1.0, 0.2, 0.0], [0.1, 0.5, 0.0], [0.0, 0.3, 2.0]], dtype=torch.float64)
PRIOR = torch.diag(torch.tensor([1.0, 0.3, 2.0], dtype=torch.float64))
ALGORITHMS = [
    Averaging(),
    LeastSquares(),
    Ridge(ridge=0.7),
    Bayes(noise_std=0.5, w_covariance=PRIOR),
    Bayes(noise_std=0.0, w_covariance=PRIOR),
    GradientDescent(step_size=[0.5, 0.1, 0.3], steps=3, preconditioner=GAMMA),
    GradientDescent(step_size=0.4, steps=4, w_init=torch.tensor([0.5, -1.0, 0.2], dtype=torch.float64)),
    Momentum(step_size=0.2, steps=4),
    Nesterov(step_size=0.3, steps=4),
    Nesterov(step_size=0.3, momentum=0.5, steps=4),
    Chebyshev(low=0.2, high=3.0, steps=4),
    ConjugateGradient(steps=4),
]


def noisy(n_positions, dim=3, n=6, seeds=(0, 1)):
    draw = Draw(seeds, "prefixes", dtype=torch.float64)
    x, w = draw.normal(n, n_positions, dim), draw.normal(n, dim)
    return x, torch.einsum("mbpd,mbd->mbp", x, w) + 0.3 * draw.normal(n, n_positions)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda a: type(a).__name__)
@pytest.mark.parametrize("n_positions", [1, 2, 3, 4, 9])
def test_all_prefixes_are_one_call_a_prefix(algorithm, n_positions):
    x, y = noisy(n_positions)
    obvious = every_prefix(lambda prompt: algorithm(prompt), x, y)
    torch.testing.assert_close(algorithm.every_prefix(x, y), obvious, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda a: type(a).__name__)
def test_no_guess_sees_what_comes_after_it(algorithm):
    x, y = (t.requires_grad_(True) for t in noisy(6, n=1, seeds=(0,)))
    guesses = algorithm.every_prefix(x, y)[-1]
    for i in range(6):
        dx, dy = torch.autograd.grad(guesses[0, 0, i], (x, y), retain_graph=True, allow_unused=True)
        assert dx is None or not dx[:, :, i + 1 :].any()
        assert dy is None or not dy[:, :, i:].any()


def test_least_squares_is_numpys_at_every_prefix():
    """The source's size, 41 points and 20 dimensions, with noise, to 1e-6; also where a context is nearly square."""
    x, y = noisy(41, dim=20, n=100, seeds=(0,))
    found = LeastSquares().every_prefix(x, y)[-1, 0]
    for b in range(100):
        for i in (1, 7, 19, 20, 21, 22, 30, 40):
            w = np.linalg.lstsq(x[0, b, :i].numpy(), y[0, b, :i].numpy(), rcond=None)[0]
            expected = x[0, b, i].numpy() @ w
            assert abs(found[b, i].item() - expected) < 1e-6 * (1 + abs(expected))


def test_inputs_that_are_close_to_singular_are_answered_prefix_by_prefix(monkeypatch):
    x, y = noisy(9)
    x[0, 2, :, 1] = 0  # a coordinate that never varies
    x[0, 3, 1] = x[0, 3, 0]  # the same point twice
    x[0, 4, 2] = x[0, 4, 0] + 1e-9 * x[0, 4, 2]
    asked = []

    def slowly(x, y):
        asked.append(x.shape[1])
        return prefix_by_prefix(x, y)

    found = prefixes.least_squares_guesses(x, y, slowly)
    assert asked == [3]
    torch.testing.assert_close(found, prefix_by_prefix(x, y), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "algorithm",
    [GradientDescent(step_size=0.1, steps=2, returns="weights"), Bayes(noise_std=0.1, returns="weights")],
    ids=lambda a: type(a).__name__,
)
def test_weights_at_every_prefix(algorithm):
    x, y = noisy(4)
    found = every_prefix(algorithm, x, y)
    assert found.shape[1:] == (2, 6, 4, 3)
    for i in range(1, 4):
        expected = algorithm(Prompt(x[:, :, :i], y[:, :, :i], x[:, :, i]))
        torch.testing.assert_close(found[:, :, :, i], expected, rtol=1e-9, atol=1e-9)


def test_nesterov_is_gradient_descent_without_momentum_and_faster_with_it(draw):
    x, w, query = draw.normal(200, 20, 5), draw.normal(200, 5), draw.normal(200, 5)
    prompt = Prompt(x, torch.einsum("mbnd,mbd->mbn", x, w), query)
    plain = GradientDescent(step_size=0.4, steps=30)(prompt)
    torch.testing.assert_close(Nesterov(step_size=0.4, momentum=0.0, steps=30)(prompt), plain)
    target = (query * w).sum(-1)

    def error(trajectory):
        return (trajectory[-1] - target).square().median()

    assert error(Nesterov(step_size=0.4, steps=30)(prompt)) < 0.2 * error(plain)
    with pytest.raises(ValueError, match=r"momentum=1.0 must be in \[0, 1\)"):
        Nesterov(step_size=0.1, momentum=1.0)
