"""Newton–Schulz against the inverse, and its eigenvalues against the closed form."""

import torch

from icl.algorithms.iterative_newton import IterativeNewton
from icl.algorithms.least_squares import LeastSquares
from icl.core import Prompt
from tolerances import EXACT


def prompt(draw, n=12, d=4):
    return Prompt(draw.normal(5, n, d), draw.normal(5, n), draw.normal(5, d))


def test_many_steps_are_least_squares(draw):
    p = prompt(draw)
    torch.testing.assert_close(IterativeNewton(steps=25)(p)[-1], LeastSquares()(p)[-1], rtol=1e-8, atol=1e-10)


def test_the_eigenvalues_of_the_error_double_their_degree(draw):
    x = draw.normal(12, 4)[0]
    A = x.T @ x
    alpha = 1 / torch.linalg.matrix_norm(A @ A.T)
    mu, U = torch.linalg.eigh(A)
    trajectory = IterativeNewton().weights(A, A.sum(1), torch.tensor(12.0), steps=6)  # b = A 1, so w* = 1
    for k in range(6):
        error = U @ ((1 - alpha * mu**2) ** (2**k) * (U.T @ torch.ones(4, dtype=torch.float64)))
        torch.testing.assert_close(1 - trajectory[k + 1], error, **EXACT)
