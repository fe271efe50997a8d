"""The fast route is taken only where it is exact, and never outlives its context."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from icl.models import matmul_route
from icl.models.matmul_route import ROUTE, USUAL, attention, fast_matmul, fast_route_error


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


class Routes(TorchDispatchMode):
    """The route in force at every call of attention's kernels."""

    def __init__(self):
        super().__init__()
        self.seen = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if "attention" in func.__name__:
            self.seen[func.__name__.split(".")[0]] = ROUTE.fp32_precision
        return func(*args, **(kwargs or {}))


def test_attention_keeps_off_the_fast_route_forward_and_backward(monkeypatch):
    monkeypatch.setattr(matmul_route, "fast_route_error", lambda: 0.0)
    q, k, v = (t.requires_grad_(True) for t in torch.randn(3, 2, 2, 5, 4, generator=torch.Generator().manual_seed(0)))
    out = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    wanted = torch.autograd.grad(out.square().sum(), (q, k, v))
    with fast_matmul(), Routes() as routes:
        found = torch.autograd.grad(attention(q, k, v).square().sum(), (q, k, v))
        assert ROUTE.fp32_precision == "bf16"
    assert len(routes.seen) == 2  # forward and backward
    assert set(routes.seen.values()) == {USUAL}
    assert all(torch.equal(a, b) for a, b in zip(found, wanted))
