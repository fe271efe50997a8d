"""Residual polynomials against the algorithms themselves, exact rational optima, and the published table."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from icl.theory.residual_polynomials import (
    best_free_steps,
    best_tied_step,
    filter_mse_per_dim,
    polynomial_mse_per_dim,
    residual,
    residual_coefficients,
)
from icl.theory.spectrum import sampled_spectrum, wishart_spectrum
from icl.theory.wishart import expected_traces
from tolerances import EXACT

TABLE = {  # (n, d): one row a number of layers: free loss/d, free step sizes, tied loss/d, tied step size
    (20, 5): [
        (0.230769, [0.7692], 0.230769, 0.7692),
        (0.072248, [0.5154, 1.2496], 0.099801, 0.7425),
        (0.026722, [0.4224, 0.6891, 1.7142], 0.053668, 0.7156),
        (0.010991, [0.3621, 0.5205, 0.8890, 2.1388], 0.032651, 0.6890),
    ],
    (20, 10): [
        (0.354839, [0.6452], 0.354839, 0.6452),
        (0.168449, [0.4203, 1.1800], 0.210528, 0.6281),
        (0.091283, [0.3506, 0.5899, 1.8099], 0.145868, 0.6113),
        (0.053250, [0.3076, 0.4359, 0.7981, 2.4866], 0.109538, 0.5942),
    ],
    (10, 10): [
        (0.523810, [0.4762], 0.523810, 0.4762),
        (0.367344, [0.2984, 0.8952], 0.406615, 0.4568),
        (0.290218, [0.2404, 0.4178, 1.4248], 0.349485, 0.4377),
        (0.243420, [0.2039, 0.3020, 0.5672, 2.0498], 0.314818, 0.4191),
    ],
    (40, 20): [
        (0.344262, [0.6557], 0.344262, 0.6557),
        (0.155455, [0.4370, 1.2217], 0.197731, 0.6477),
        (0.078499, [0.3766, 0.6287, 1.9087], 0.132119, 0.6401),
        (0.042306, [0.3450, 0.4734, 0.8662, 2.6491], 0.095331, 0.6326),
    ],
}
ROWS = [(n, d, layers, *row) for (n, d), rows in TABLE.items() for layers, row in enumerate(rows, start=1)]


@pytest.mark.parametrize(("n", "d", "layers", "free_loss", "free_steps", "tied_loss", "tied_step"), ROWS)
def test_the_exact_table(n, d, layers, free_loss, free_steps, tied_loss, tied_step):
    spectrum = wishart_spectrum(n, d)
    free, tied = best_free_steps(spectrum, layers), best_tied_step(spectrum, layers)
    assert free.step_sizes == pytest.approx(free_steps, abs=5.1e-5)
    assert tied.step_size == pytest.approx(tied_step, abs=5.1e-5)
    assert (free.mse_per_dim, tied.mse_per_dim) == pytest.approx((free_loss, tied_loss), abs=5.1e-7)


def rational_optimum(n: int, d: int, layers: int) -> tuple[list[Fraction], Fraction]:
    """Coefficients and loss per dimension of the best p, p(0) = 1, from the normal equations in fractions."""
    m = [Fraction(expected_traces((k,), n, d), d * n**k) for k in range(2 * layers + 1)]
    rows = [[m[i + j] for j in range(1, layers + 1)] + [m[i]] for i in range(1, layers + 1)]
    for i in range(layers):
        rows[i] = [v / rows[i][i] for v in rows[i]]
        for j in range(layers):
            if j != i:
                rows[j] = [a - rows[j][i] * b for a, b in zip(rows[j], rows[i], strict=True)]
    c = [row[-1] for row in rows]
    return [Fraction(1), *(-v for v in c)], 1 - sum(a * b for a, b in zip(m[1:], c, strict=False))


@pytest.mark.parametrize(("n", "d"), [*TABLE, (5, 8), (3, 2)])
@pytest.mark.parametrize("layers", [1, 2, 4, 6])
def test_free_steps_solve_the_rational_normal_equations(n, d, layers):
    layers = min(layers, n, d)
    free = best_free_steps(wishart_spectrum(n, d), layers)
    coefficients, loss = rational_optimum(n, d, layers)
    assert residual_coefficients(free.step_sizes) == pytest.approx([float(c) for c in coefficients], rel=1e-10)
    assert free.mse_per_dim == pytest.approx(float(loss), rel=1e-10)
    assert polynomial_mse_per_dim([float(c) for c in coefficients], n, d) == pytest.approx(float(loss), rel=1e-8)
    assert free.step_sizes == sorted(free.step_sizes)
    assert free.step_sizes[0] > 0


@given(n=st.integers(1, 40), d=st.integers(1, 40))
@settings(max_examples=25, deadline=None)
def test_one_layer_has_the_one_step_optimum(n, d):
    spectrum = wishart_spectrum(n, d)
    free, tied = best_free_steps(spectrum, 1), best_tied_step(spectrum, 1)
    assert (free.step_sizes[0], tied.step_size) == pytest.approx([n / (n + d + 1)] * 2, rel=1e-10)
    assert (free.mse_per_dim, tied.mse_per_dim) == pytest.approx([(d + 1) / (n + d + 1)] * 2, rel=1e-10)


@pytest.mark.parametrize("layers", [2, 5, 20])
def test_optima_are_stationary_and_ordered(layers):
    spectrum = wishart_spectrum(20, 10)
    tied, free = best_tied_step(spectrum, layers), best_free_steps(spectrum, min(layers, 6))
    for steps, total in ((free.step_sizes, False), ([tied.step_size] * layers, True)):
        steps = torch.tensor(steps, dtype=torch.float64, requires_grad=True)
        loss = spectrum.mean(residual(spectrum.eigenvalues, steps).square())
        gradient = torch.autograd.grad(loss, steps)[0]
        assert (gradient.sum() if total else gradient).abs().max() < 1e-12
    assert best_free_steps(spectrum, 2).mse_per_dim >= free.mse_per_dim
    if layers <= 6:
        assert free.mse_per_dim < tied.mse_per_dim


steps_of = st.lists(st.floats(0.05, 1.0), min_size=2, max_size=2)


@given(n=st.integers(1, 20), d=st.integers(1, 20), steps=steps_of, gammas=st.none() | steps_of)
@settings(max_examples=25, deadline=None)
def test_moments_and_spectrum_give_the_same_loss(n, d, steps, gammas):
    spectrum = wishart_spectrum(n, d)
    p = residual(spectrum.eigenvalues, steps, gammas)
    exact = polynomial_mse_per_dim(residual_coefficients(steps, gammas), n, d)
    assert filter_mse_per_dim(spectrum, p) == pytest.approx(exact, rel=1e-8)


def run_tokens(x, y, x_query, steps, gammas):
    """GD++ as a layer: tokens (x, y) and (x_query, 0), both channels updated from the layer's input."""
    n, y_query = x.shape[-2], torch.zeros_like(x_query[..., :1])[..., 0]
    for step, gamma in zip(steps, gammas, strict=True):
        scores, query_scores = x @ x.mT / n, x @ x_query[..., None] / n
        y_query = y_query - step * (y[..., None] * query_scores).sum((-2, -1))
        x_query = x_query - gamma * (x.mT @ query_scores)[..., 0]
        y, x = y - step * (scores @ y[..., None])[..., 0], x - gamma * scores @ x
    return -y_query


@pytest.mark.parametrize(("n", "d"), [(7, 4), (3, 5)])
@pytest.mark.parametrize("gammas", [[0.0, 0.0, 0.0], [0.1, 0.2, 0.05]])
def test_the_residual_is_what_the_layers_leave(n, d, gammas, draw):
    """With noise too: the loss of the linear map from labels to prediction, averaged over w, ε and query."""
    steps, noise_std = [0.4, 0.3, 0.5], 0.7
    x = draw.normal(6, n, d)[0]
    labels, queries = torch.eye(n).to(x), torch.eye(d).to(x)
    to_w = torch.stack(
        [
            torch.stack([run_tokens(x, y.expand(6, n), q.expand(6, d), steps, gammas) for y in labels], -1)
            for q in queries
        ],
        -2,
    )  # (6, d, n): the estimate of w as a matrix that acts on the labels
    bias = (torch.eye(d).to(x) - to_w @ x).square().sum((-2, -1))
    loss = (bias + noise_std**2 * to_w.square().sum((-2, -1))).mean() / d
    spectrum = sampled_spectrum(x)
    p = residual(spectrum.eigenvalues, steps, gammas)
    assert filter_mse_per_dim(spectrum, p, noise_std=noise_std) == pytest.approx(loss.item(), rel=1e-10)
    torch.testing.assert_close(filter_mse_per_dim(spectrum, p), bias.mean().item() / d, **EXACT)


def test_sampled_prompts_have_the_exact_loss(draw):
    n, d, b = 8, 3, 50_000
    x, w, x_query = draw.normal(b, n, d)[0], draw.normal(b, d)[0], draw.normal(b, d)[0]
    y = (x @ w[..., None])[..., 0] + 0.5 * draw.normal(b, n)[0]
    steps, gammas = [0.5, 0.4], [0.1, 0.0]
    error = (run_tokens(x, y, x_query, steps, gammas) - (w * x_query).sum(-1)).square()
    spectrum = wishart_spectrum(n, d)
    exact = d * filter_mse_per_dim(spectrum, residual(spectrum.eigenvalues, steps, gammas), noise_std=0.5)
    assert abs(error.mean() - exact) < 4 * error.std() / b**0.5


def test_uniform_inputs_by_sampled_spectra(draw):
    """d = n = 10, x ~ U(−½, ½): half-MSE of tied steps, of free steps, and of two tied layers of GD++."""
    spectrum = sampled_spectrum(draw.uniform(20_000, 10, 10)[0] - 0.5)
    scale = 0.5 * 10 / 12
    for layers, half_mse in enumerate([0.206229, 0.1568, 0.1330, 0.1186], start=1):
        assert scale * best_tied_step(spectrum, layers).mse_per_dim == pytest.approx(half_mse, rel=0.01)
    for layers, half_mse in enumerate([0.206229, 0.1415, 0.1103, 0.0919], start=1):
        assert scale * best_free_steps(spectrum, layers).mse_per_dim == pytest.approx(half_mse, rel=0.01)
    p = residual(spectrum.eigenvalues, [13.50] * 2, [1.761] * 2)
    assert scale * filter_mse_per_dim(spectrum, p) == pytest.approx(0.1107, rel=0.01)


def test_coefficients_have_the_degree_of_the_recursion():
    assert len(residual_coefficients([0.5] * 3)) == 4
    assert len(residual_coefficients([0.5] * 3, [0.1] * 3)) == 1 + (3**3 - 1) // 2
    values = np.polynomial.polynomial.polyval(0.7, residual_coefficients([0.5, 0.2], [0.1, 0.3]))
    by_recursion = residual(torch.tensor(0.7, dtype=torch.float64), [0.5, 0.2], [0.1, 0.3])
    assert values == pytest.approx(by_recursion.item(), rel=1e-14)
