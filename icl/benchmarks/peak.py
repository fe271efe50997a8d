"""The machine: its matrix product by dtype and route, and its random numbers."""

from collections.abc import Callable, Iterator

import torch

from icl.benchmarks.settings import Settings
from icl.benchmarks.timing import Candidate, Table
from icl.models.matmul_route import fast_matmul, fast_route_error
from icl.rng import Draw

GEMM_SIZES, PEAK_SIZE = (512, 1024, 2048), 1024  # a bank is held against the latter
NUMBERS = 2**18


def run(settings: Settings) -> Iterator[Table]:
    candidates = []
    for n in (PEAK_SIZE,) if settings.quick else GEMM_SIZES:
        candidates.append(gemm(settings, n, torch.float32))
        if settings.fast_route:
            candidates.append(gemm(settings, n, torch.float32, fast=True))
        candidates.append(gemm(settings, n, torch.bfloat16))
    for dtype in (torch.float32, torch.bfloat16):
        candidates += [random(settings, name, dtype) for name in ("normal", "uniform")]
    yield settings.table("machine", candidates, route_note(settings))


def gemm(settings: Settings, n: int, dtype: torch.dtype, *, fast: bool = False) -> Candidate:
    """C = A B for three n x n matrices that are there already."""
    a, b, c = torch.randn(3, n, n, device=settings.device).to(dtype)

    def call() -> None:
        torch.mm(a, b, out=c)

    def call_fast() -> None:
        with fast_matmul():
            torch.mm(a, b, out=c)

    return Candidate(name=gemm_name(n, dtype, fast), call=call_fast if fast else call, work=0, flop=2 * n**3)


def gemm_name(n: int, dtype: torch.dtype, fast: bool) -> str:
    return f"GEMM {n}, {str(dtype).removeprefix('torch.')}{', fast route' if fast else ''}"


def random(settings: Settings, name: str, dtype: torch.dtype) -> Candidate:
    """Numbers as a task draws them, a fresh stream at each call."""
    draw = Draw([0], "peak", device=settings.device, dtype=dtype)
    call: Callable[[], object] = lambda: getattr(draw.at(0), name)(NUMBERS)  # noqa: E731
    return Candidate(name=f"{name}, {str(dtype).removeprefix('torch.')}", call=call, work=NUMBERS, unit="numbers")


def route_note(settings: Settings) -> str:
    """Which float32 product the fast route is, by its error."""
    if settings.device != "cpu":
        return "float32 products without TF32"
    error = fast_route_error()
    taken = "as exact as the default, taken" if settings.fast_route else "not taken (not float32, or not exact)"
    return f"fast float32 route (oneDNN): relative rms error {error:.2g} against float64, {taken}"
