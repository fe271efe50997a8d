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
