"""The limit of many examples: by computer algebra, by samples, and by fits at large n."""

import math

import pytest
import sympy
import torch

from icl.rng import Draw
from icl.theory.rotation import empirical_covariances
from icl.theory.rotation_fits import best_planes
from icl.theory.rotation_limit import planar, planar_polynomial, two_loops


def by_algebra(n_loops: int) -> list[int]:
    """½ E‖(W + ωJ)^L‖² for 2 x 2 W from its four entries: tau, u, v independent normal numbers of variance 1."""
    tau, u, v, omega = sympy.symbols("tau u v omega")
    power = sympy.Matrix([[tau + u, v - omega], [v + omega, tau - u]]) ** n_loops
    form = sympy.Poly(sympy.expand(sum(entry**2 for entry in power) / 2), tau, u, v, omega)
    coefficients = [0] * (n_loops + 1)
    for (i, j, k, w), c in form.terms():
        moments = [0 if m % 2 else math.prod(range(1, m, 2)) for m in (i, j, k)]
        if math.prod(moments):
            coefficients[w // 2] += int(c) * math.prod(moments)
    return coefficients


@pytest.mark.parametrize("n_loops", [1, 2, 3, 4])
def test_two_dimensions_by_computer_algebra(n_loops):
    assert planar_polynomial(n_loops) == by_algebra(n_loops)


def test_two_loops_in_two_dimensions():
    assert planar_polynomial(2) == [23, -2, 1]
    assert (planar(2).angle, planar(2).gain) == pytest.approx((1.0, 1 / 23))
    assert two_loops(2) == pytest.approx(planar(2))
    assert planar(1) == (0.0, 0.0)


@pytest.mark.parametrize("dim", [2, 3, 5])
def test_two_loops_in_every_dimension_by_samples(dim):
    """E‖(W + Ω)²‖² = 2d³ + 5d² + 5d − 2‖Ω‖² + ‖Ω²‖² for a skew Ω of any kind."""
    draw = Draw([2], "limit", dtype=torch.float64)
    G, K = draw.normal(100_000, dim, dim)[0], draw.normal(dim, dim)[0]
    W, omega = (G + G.mT) / 2**0.5, (K - K.T) / 2
    values = torch.linalg.matrix_power(W + omega, 2).square().sum((1, 2))
    exact = 2 * dim**3 + 5 * dim**2 + 5 * dim - 2 * omega.square().sum() + (omega @ omega).square().sum()
    assert abs(values.mean() - exact) < 4 * values.std() / len(values) ** 0.5


@pytest.mark.parametrize(
    ("n_loops", "dim", "n"), [(2, 2, 300), (3, 2, 300), pytest.param(2, 4, 2000, marks=pytest.mark.slow)]
)
def test_fits_at_many_examples_come_near_the_limit(n_loops, dim, n):
    limit = planar(n_loops) if dim == 2 else two_loops(dim)
    covariances = [
        empirical_covariances(Draw([seed], "fit", dtype=torch.float64).normal(8000, n, dim)[0]) for seed in (0, 1)
    ]
    found = best_planes(*covariances, n, n_loops)
    assert found.angle * n**0.5 == pytest.approx(limit.angle, rel=0.08)
    assert found.gain.value == pytest.approx(limit.gain, rel=0.25)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="n_loops=0 must be >= 1"):
        planar_polynomial(0)
    with pytest.raises(ValueError, match="dim=1 must be >= 2"):
        two_loops(1)
