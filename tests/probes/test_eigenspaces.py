"""Lanczos against the eigendecomposition of the stored matrix."""

import pytest
import torch
from probed import Quadratic, Rows

from icl.probes.eigenspaces import lanczos, largest, overlap, share_within
from icl.probes.loss_surface import LossSurface


def matrices(draw, spectrum):
    q, _ = torch.linalg.qr(draw.normal(2, len(spectrum), len(spectrum))[0])
    return q @ torch.diag(torch.tensor(spectrum, dtype=torch.float64)) @ q.mT


@pytest.mark.parametrize(
    "spectrum",
    [[-3.0, 0.1, 0.2, 1.0, 4.0, 9.0], [0.0] * 30 + [1.0, 5.0], [2.0] * 8, [*torch.linspace(-1, 1, 60).tolist(), 7.0]],
    ids=["small", "low rank", "a multiple of I", "long"],
)  # fmt: skip
@pytest.mark.parametrize("k", [1, 3])
def test_lanczos_finds_the_largest_pairs(spectrum, k, draw):
    H = matrices(draw, spectrum)
    values, vectors = lanczos(lambda v: torch.einsum("mfg,mg->mf", H, v), H[:, 0], k)
    exact = torch.linalg.eigvalsh(H).flip(-1)[:, :k]
    torch.testing.assert_close(values, exact, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(H @ vectors, vectors * values[:, None], rtol=0, atol=2e-5)
    torch.testing.assert_close(vectors.mT @ vectors, torch.eye(k).double().expand(2, -1, -1), rtol=0, atol=1e-9)


def test_both_methods_agree(draw):
    H = matrices(draw, [*torch.linspace(-1, 1, 40).tolist(), 3.0, 7.0])
    surface = LossSurface(Rows(torch.zeros(2, 42)), Quadratic(H, torch.zeros(2, 42).double()), [torch.zeros(1)])
    theta = torch.zeros(2, 42).double()
    exact, products = (largest(surface, theta, 2, method) for method in ("exact", "products"))
    torch.testing.assert_close(products[0], exact[0], rtol=1e-6, atol=1e-9)
    assert overlap(products[1], exact[1]).min() > 1 - 1e-6
    with pytest.raises(ValueError, match=r"k=43 eigenvectors must be in 1\.\.42"):
        largest(surface, theta, 43)


@pytest.mark.parametrize("method", ["exact", "products"])
def test_a_member_that_diverged_has_no_eigenvalues_and_harms_no_other(method, draw):
    H = matrices(draw, [0.0, 1.0, 2.0, 5.0])
    H[1, 0, 0] = torch.inf
    surface = LossSurface(Rows(torch.zeros(2, 4)), Quadratic(H, torch.zeros(2, 4).double()), [torch.zeros(1)])
    values, vectors = largest(surface, torch.ones(2, 4).double(), 2, method)
    torch.testing.assert_close(values[0], torch.tensor([5.0, 2.0]).double(), rtol=1e-6, atol=1e-9)
    assert vectors[0].isfinite().all()
    assert values[1].isnan().all()


def test_the_share_of_a_vector_is_that_of_its_coordinates():
    space = torch.eye(5).double()[:, :2]
    assert share_within(torch.tensor([3.0, 0, 4, 0, 0]).double(), space) == pytest.approx(9 / 25)
    assert overlap(space[None], torch.eye(5).double()[None, :, 1:3]).item() == pytest.approx(0.5)
