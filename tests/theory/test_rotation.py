"""The curvature at the best scalar: moments against spectra, against autograd, against the large-n limit."""

from itertools import combinations

import pytest
import torch

from icl.rng import Draw
from icl.theory.residual_polynomials import best_tied_step
from icl.theory.rotation import curvature, empirical_covariances, residual_norms, sampled_curvature
from icl.theory.spectrum import wishart_spectrum
from tolerances import EXACT

# (d, n, L): value, standard error, from sampled spectra (another program).
MEASURED = {
    (2, 4, 2): (2.02, 0.02), (2, 8, 2): (0.94, 0.02), (2, 8, 4): (0.23, 0.06), (2, 8, 5): (-0.10, 0.12),
    (2, 20, 2): (-0.54, 0.02), (3, 12, 4): (-0.43, 0.04), (5, 8, 6): (0.67, 0.20), (5, 10, 5): (0.34, 0.10),
    (5, 10, 6): (0.12, 0.22), (5, 20, 2): (0.157, 0.003), (5, 20, 3): (0.176, 0.003), (5, 20, 4): (-0.575, 0.022),
    (5, 40, 2): (-0.115, 0.004), (10, 20, 2): (0.172, 0.001), (10, 20, 4): (0.025, 0.006),
    (10, 20, 5): (0.008, 0.012), (10, 20, 6): (-0.13, 0.02), (10, 20, 8): (-0.28, 0.05), (10, 40, 2): (0.084, 0.001),
    (10, 40, 3): (0.054, 0.002), (10, 40, 4): (-0.414, 0.010), (10, 100, 2): (-0.039, 0.002),
    (20, 40, 4): (-0.000, 0.004), (20, 40, 5): (0.01, 0.02), (20, 40, 6): (-0.03, 0.04), (20, 40, 8): (-0.08, 0.08),
}  # fmt: skip
# Without a standard error: to the digits that are printed.
PRINTED = {
    (2, 20, 3): -0.97, (5, 8, 2): 0.51, (5, 8, 3): 0.85, (5, 10, 2): 0.41, (5, 10, 3): 0.67, (5, 40, 3): -0.425,
    (5, 40, 4): -1.87, (5, 100, 2): -0.74, (5, 100, 3): -1.94, (5, 100, 4): -5.4, (10, 100, 3): -0.34,
    (10, 100, 4): -1.5, (20, 40, 2): 0.085, (20, 40, 3): 0.120,
}  # fmt: skip


@pytest.mark.parametrize(("cell", "value"), MEASURED.items(), ids=str)
def test_the_measured_table(cell, value):
    dim, n_context, n_loops = cell
    measured, error = value
    assert abs(curvature(n_context, dim, n_loops) - measured) < 4 * error


@pytest.mark.parametrize(("cell", "value"), PRINTED.items(), ids=str)
def test_the_printed_table(cell, value):
    dim, n_context, n_loops = cell
    assert curvature(n_context, dim, n_loops) == pytest.approx(value, rel=0.03)


def test_what_samples_could_not_decide():
    """d = 10, n = 20, L = 5 is a minimum (where the best rotation gains 1.5 %: a jump); d = 20, n = 40 a saddle."""
    assert curvature(20, 10, 5) > 0
    assert all(curvature(40, 20, n_loops) < 0 for n_loops in (4, 5, 6, 8))
    assert all(curvature(10, 5, n_loops) > 0 for n_loops in (2, 3, 4, 5, 6, 8))


@pytest.mark.parametrize("direction", ["skew", "symmetric"])
@pytest.mark.parametrize(("dim", "n_context", "n_loops"), [(2, 6, 2), (3, 12, 3), (5, 20, 2)])
def test_moments_and_sampled_spectra_agree(dim, n_context, n_loops, direction):
    x = Draw([1], "spectra", dtype=torch.float64).normal(40_000, n_context, dim)[0]
    eigenvalues = torch.linalg.eigvalsh(empirical_covariances(x))
    beta = best_tied_step(wishart_spectrum(n_context, dim), n_loops).step_size
    found = sampled_curvature(eigenvalues, n_loops, direction, step_size=beta)
    assert abs(curvature(n_context, dim, n_loops, direction) - found.value) < 4 * found.error
    assert found.error < 0.05 * max(1, abs(found.value))


def orthonormal(dim: int, direction: str) -> list[torch.Tensor]:
    """A basis of the skew, or of the traceless symmetric matrices, of Frobenius norm 1."""
    basis = []
    for i, j in combinations(range(dim), 2):
        E = torch.zeros(dim, dim, dtype=torch.float64)
        E[i, j], E[j, i] = 1, -1 if direction == "skew" else 1
        basis.append(E / 2**0.5)
    for k in range(1, dim) if direction == "symmetric" else ():
        diagonal = torch.tensor([1.0] * k + [-float(k)] + [0.0] * (dim - k - 1), dtype=torch.float64)
        basis.append(torch.diag(diagonal / diagonal.norm()))
    return basis


@pytest.mark.parametrize("direction", ["skew", "symmetric"])
@pytest.mark.parametrize(("dim", "n_loops"), [(2, 1), (2, 4), (3, 2), (4, 3), (5, 4)])
def test_spectra_and_hessian_vector_products_agree(dim, n_loops, direction, draw):
    """A mean over Haar rotations of E is the trace of the Hessian on the space of E over its dimension."""
    S, beta = empirical_covariances(draw.normal(7, 2 * dim, dim)[0]), 0.6
    A = (beta * torch.eye(dim, dtype=torch.float64)).requires_grad_()
    loss = residual_norms(A, S, n_loops).mean()
    gradient = torch.autograd.grad(loss, A, create_graph=True)[0]
    basis = orthonormal(dim, direction)
    bent = [(torch.autograd.grad(gradient, A, grad_outputs=E, retain_graph=True)[0] * E).sum() for E in basis]
    found = sampled_curvature(torch.linalg.eigvalsh(S), n_loops, direction, step_size=beta)
    torch.testing.assert_close(found.value, (sum(bent) / len(bent) / loss).item(), **EXACT)


@pytest.mark.parametrize("direction", ["skew", "symmetric"])
def test_one_loop_is_convex_in_closed_form(direction):
    """L = 1: d²/dt² E‖I − (β + tE)S‖² = 2 E‖ES‖² = 2 E tr S²/d, at mse d (d+1)/(n+d+1)."""
    n, d = 9, 4
    exact = 2 * (n + d + 1) / n / (d * (d + 1) / (n + d + 1))
    assert curvature(n, d, 1, direction) == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("dim", [2, 3, 5, 10])
def test_two_loops_with_very_many_examples_are_a_saddle_in_every_dimension(dim):
    n = 10**6
    assert curvature(n, dim, 2) / n == pytest.approx(-4 / (2 * dim**3 + 5 * dim**2 + 5 * dim), rel=1e-3)


def test_residual_norms_are_those_of_the_loops_one_by_one(draw):
    A, S = draw.normal(2, 3, 3)[0], empirical_covariances(draw.normal(4, 6, 3)[0])
    for m in range(2):
        for k in range(4):
            R = torch.eye(3, dtype=torch.float64)
            for _ in range(3):
                R = R - A[m] @ S[k] @ R
            torch.testing.assert_close(residual_norms(A, S, 3)[m, k], R.square().sum(), **EXACT)


@pytest.mark.parametrize("arguments", [(20, 5, 0), (20, 1, 2)])
def test_bad_arguments_are_refused_in_one_line(arguments):
    with pytest.raises(ValueError, match=r"(n_loops=0 must be >= 1|dim=1 must be >= 2)"):
        curvature(*arguments)
