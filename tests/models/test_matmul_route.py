"""The fast route is taken only where it is exact, and never outlives its context."""

import pytest
import torch

from icl.models import matmul_route
from icl.models.matmul_route import ROUTE, fast_matmul, fast_route_error


def test_inside_products_are_as_exact_as_promised_and_the_setting_is_put_back():
    before = ROUTE.fp32_precision
    a, b = torch.randn(2, 256, 256, generator=torch.Generator().manual_seed(1))
    exact = a.double() @ b.double()
    with fast_matmul() as taken:
        assert ROUTE.fp32_precision == ("bf16" if taken else before)
        error = (((a @ b).double() - exact).norm() / exact.norm()).item()
    assert error < matmul_route.LARGEST_ERROR
    assert ROUTE.fp32_precision == before


def test_an_inexact_route_is_refused(monkeypatch):
    before = ROUTE.fp32_precision
    monkeypatch.setattr(matmul_route, "fast_route_error", lambda: 2e-3)
    with fast_matmul() as taken:
        assert not taken
        assert ROUTE.fp32_precision == before


def test_the_setting_is_put_back_after_an_error():
    before = ROUTE.fp32_precision
    with pytest.raises(RuntimeError, match="stop"), fast_matmul():
        raise RuntimeError("stop")
    assert ROUTE.fp32_precision == before


def test_the_error_is_measured_once():
    assert fast_route_error() == fast_route_error() > 0
    assert fast_route_error.cache_info().misses == 1
