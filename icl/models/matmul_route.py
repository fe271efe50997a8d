"""The faster float32 matrix product of a CPU, only where it is as exact as the usual one.

On some CPUs oneDNN multiplies float32 matrices twice as fast as the library that torch uses by default; the
flag that chooses it may also mean bfloat16 inside, on CPUs that have units for that. So the error is
measured, never assumed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

# For the CPU alone: products on a GPU keep their own setting.
ROUTE: Any = torch.backends.mkldnn.matmul  # pyright: ignore[reportAttributeAccessIssue]
USUAL = "ieee"
LARGEST_ERROR = 1e-6  # relative rms; float32 at this size has 2e-7 to 4e-7, bfloat16 about 2e-3


@contextmanager
def fast_matmul() -> Iterator[bool]:
    """Within the context products take the fast route, if its error allows. Yields whether they do.

    A choice by this machine's error and not by a timing, so that runs on one machine repeat. Small batched
    products are slower this way: it is for large ones, and `attention` stays off it.
    """
    before, exact = ROUTE.fp32_precision, fast_route_error() < LARGEST_ERROR
    ROUTE.fp32_precision = "bf16" if exact else before
    try:
        yield exact
    finally:
        ROUTE.fp32_precision = before


def attention(
    q: Float[Tensor, "K H S E"], k: Float[Tensor, "K H S2 E"], v: Float[Tensor, "K H S2 F"], mask: Tensor | None = None
) -> Float[Tensor, "K H S F"]:
    """softmax(q kᵀ/√E) v, causal or with `mask`; on a CPU always by the usual route, forward and backward.

    The many tiny products inside are four to seven times slower by the fast one.
    """
    route = ROUTE.fp32_precision
    if q.device.type != "cpu" or route != "bf16":
        return F.scaled_dot_product_attention(q, k, v, mask, is_causal=mask is None)
    q, k, v = _OnTheWayBack.apply(route, q, k, v)
    ROUTE.fp32_precision = USUAL
    try:
        out = F.scaled_dot_product_attention(q, k, v, mask, is_causal=mask is None)
    finally:
        ROUTE.fp32_precision = route
    return _OnTheWayBack.apply(USUAL, out)[0]


class _OnTheWayBack(torch.autograd.Function):
    """The identity; its gradient passes unchanged too, and sets the route for what comes after it."""

    @staticmethod
    def forward(ctx: Any, route: str, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.route = route
        return tuple(t.view_as(t) for t in tensors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        ROUTE.fp32_precision = ctx.route
        return None, *gradients


@cache
def fast_route_error() -> float:
    """Relative rms error of the fast route against float64, measured once a process."""
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 512, 512, generator=generator)
    before = ROUTE.fp32_precision
    ROUTE.fp32_precision = "bf16"
    try:
        product = (a @ b).double()
    finally:
        ROUTE.fp32_precision = before
    exact = a.double() @ b.double()
    return ((product - exact).norm() / exact.norm()).item()
