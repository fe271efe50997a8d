"""What the constructors of models refuse, each with one line that says which argument and what is allowed."""

import math


def at_least_one(**sizes: int | None) -> None:
    """Raises ValueError for a size below 1; None is a size that another one decides."""
    for name, size in sizes.items():
        if size is not None and size < 1:
            raise ValueError(f"{name}={size} must be >= 1")


def finite(**scales: float) -> None:
    """Raises ValueError for a scale that is negative, infinite or nan."""
    for name, scale in scales.items():
        if not (scale >= 0 and math.isfinite(scale)):
            raise ValueError(f"{name}={scale} must be >= 0 and finite")


def depth(steps: int | None, n_layers: int) -> int:
    """`steps` of an untied stack, all its layers by default. Raises ValueError beyond them."""
    if steps is not None and not 0 <= steps <= n_layers:
        raise ValueError(f"steps={steps} must be in 0..{n_layers}, the layers of an untied stack")
    return n_layers if steps is None else steps
