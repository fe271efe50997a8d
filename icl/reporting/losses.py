"""What every figure of a loss shares: its name and unit, the exact values as lines, the range of its axis."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from icl.reporting import canvas
from icl.reporting.canvas import Array
from icl.reporting.page import number, words

UNITS = {"half_mse": "half MSE", "mse": "MSE", "mse_per_dim": "MSE / D"}
EXACT = {"best_one_step": "best single step", "zero": "always predict 0", "bayes": "Bayes risk"}


def loss_label(result: Mapping[str, Any], when: str = "training") -> str:
    """`training loss (half MSE)`."""
    name = result.get("loss_name")
    return f"{when} loss ({UNITS.get(name, words(name))})" if name else f"{when} loss"


def exact_values(result: Mapping[str, Any]) -> dict[str, float]:
    """The losses that the task knows; zero is left out, for it has no place on a logarithmic axis."""
    return {key: value for key, value in (result.get("theory") or {}).items() if value}


def draw_exact(axes: Any, exact: Mapping[str, float]) -> None:
    for (key, value), style in zip(exact.items(), canvas.DASHES, strict=False):
        label = f"{EXACT.get(key, words(key))} (exact): {number(value)}"
        axes.axhline(value, color=canvas.INK, linewidth=1.3, linestyle=style, label=label)


def limit(axes: Any, loss: Array, start: Array, exact: Mapping[str, float]) -> None:
    """All of the curves, but a few members' excursions far above the `start` do not flatten the others."""
    finite, begun, lines = loss[np.isfinite(loss)], start[np.isfinite(start)], list(exact.values())
    ceiling = 3 * max([*lines, float(np.median(begun if begun.size else finite))])
    low, high = min([*lines, float(finite.min())]), min(max([*lines, float(finite.max())]), ceiling)
    canvas.range_axis(axes, "y", low, high)


def of_members(n: int, name: str) -> str:
    return name if n == 1 else f"{name}, median of {n} (thin: each)"


def span_of(values: Sequence[float] | Array) -> str:
    """`at step 40`, or `between steps 40 and 90, by member`."""
    a, b = int(min(values)), int(max(values))
    return f"at step {a:,}" if a == b else f"between steps {a:,} and {b:,}, by member"
