"""The error of many equal steps: exact spectrum, exact moments, the task's own samples."""

import math

import pytest
import torch

from icl.theory.gradient_descent import (
    gradient_descent_mse_per_dim,
    gradient_descent_mse_per_dim_by_moments,
    unstable_share,
)


@pytest.mark.parametrize(("n_context", "dim"), [(20, 10), (4, 7), (9, 1)])
@pytest.mark.parametrize("step_size", [0.1, 0.4, 0.6])
@pytest.mark.parametrize("steps", [0, 1, 2, 5, 10])
def test_the_spectrum_and_the_integer_moments_agree(n_context, dim, step_size, steps):
    sizes = {"n_context": n_context, "dim": dim}
    by_spectrum = gradient_descent_mse_per_dim(step_size, steps, **sizes)
    assert by_spectrum == pytest.approx(gradient_descent_mse_per_dim_by_moments(step_size, steps, **sizes), rel=1e-9)


def test_numbers_of_the_literature():
    """½ E |w_k − w*|² at d = 10, n = 20, and the optimum of one step, (1/2) d (d+1)/(n+d+1)."""
    half = [5 * gradient_descent_mse_per_dim(0.4, k, n_context=20, dim=10) for k in (1, 2, 5, 10)]
    assert half == pytest.approx([2.24, 1.452, 0.642257, 0.269524], rel=1e-5)
    best = 5 * gradient_descent_mse_per_dim(20 / 31, 1, n_context=20, dim=10)
    assert best == pytest.approx(0.5 * 10 * 11 / 31, rel=1e-12)


def test_unstable_tasks_carry_the_mean_of_many_steps():
    """They are too rare to be sampled at η = 0.4, and yet the mean over all prompts grows without limit."""
    sizes = {"n_context": 20, "dim": 10}
    assert gradient_descent_mse_per_dim(0.4, 20, **sizes) < gradient_descent_mse_per_dim(0.4, 10, **sizes)
    assert gradient_descent_mse_per_dim(0.4, 40, **sizes) > 1e10


def test_the_unstable_share_is_a_chi_square_tail_in_one_dimension(draw):
    """n λ/v ~ χ²_n: P(λ > 2/η) = Q(n/2, n/(η v))."""
    share = unstable_share(0.8, n_context=4, mixing=torch.tensor([[1.5]]).double(), draw=draw, n_prompts=40_000)
    exact = torch.special.gammaincc(torch.tensor(2.0), torch.tensor(4 / (0.8 * 1.5**2))).item()
    assert abs(share - exact) < 4 * math.sqrt(exact * (1 - exact) / 40_000)
