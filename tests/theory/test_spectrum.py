"""The exact spectral density against integer moments, inverse moments, chi-squared, and sampled spectra."""

import pytest
import torch

from icl.theory.spectrum import sampled_spectrum, wishart_spectrum
from icl.theory.wishart import moment
from tolerances import EXACT


@pytest.mark.parametrize(
    ("n_context", "dim"),
    [(1, 1), (2, 2), (3, 2), (7, 7), (20, 5), (10, 10), (5, 20), (40, 39), (40, 20), (90, 30)],
)
def test_the_density_has_the_exact_moments(n_context, dim):
    spectrum = wishart_spectrum(n_context, dim)
    for k in (0, 1, 2, 3, 5, 8, 12):
        found = spectrum.mean(spectrum.eigenvalues**k)
        torch.testing.assert_close(found, found.new_tensor(moment(k, n_context, dim)), **EXACT)
    assert (spectrum.weights >= 0).all()


@pytest.mark.parametrize(("n_context", "dim"), [(4, 2), (12, 5), (21, 20), (22, 20), (40, 20)])
def test_the_inverse_moment_is_that_of_the_inverse_wishart(n_context, dim):
    if n_context > dim + 1:
        spectrum = wishart_spectrum(n_context, dim)
        assert spectrum.mean(1 / spectrum.eigenvalues).item() == pytest.approx(n_context / (n_context - dim - 1))


@pytest.mark.parametrize("n_context", [1, 2, 5, 30])
def test_one_dimension_is_chi_squared(n_context):
    spectrum = wishart_spectrum(n_context, 1)
    laplace = spectrum.mean(torch.exp(-spectrum.eigenvalues * n_context))
    assert laplace.item() == pytest.approx(3 ** (-n_context / 2), rel=1e-10)


@pytest.mark.parametrize(("n_context", "dim"), [(6, 3), (4, 4), (3, 5)])
def test_sampled_spectra_agree(n_context, dim, draw):
    exact = wishart_spectrum(n_context, dim)
    x = draw.normal(20_000, n_context, dim)[0]
    for f in (lambda v: torch.exp(-3 * v), lambda v: 1 / (0.05 + v), lambda v: torch.cos(4 * v)):
        per_prompt = f(torch.linalg.eigvalsh(x.mT @ x / n_context).clamp(min=0)).mean(-1)
        z = (per_prompt.mean() - exact.mean(f(exact.eigenvalues))) / (per_prompt.std() / len(x) ** 0.5)
        assert abs(z) < 4
        sampled = sampled_spectrum(x)
        torch.testing.assert_close(sampled.mean(f(sampled.eigenvalues)), per_prompt.mean(), **EXACT)


@pytest.mark.parametrize(("n_context", "dim"), [(0, 5), (400, 301)])
def test_sizes_beyond_float64_are_refused(n_context, dim):
    with pytest.raises(ValueError, match=r"must be in 1\.\.300"):
        wishart_spectrum(n_context, dim)
