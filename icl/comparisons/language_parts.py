"""What was measured on one member, as JSON and back, and members stacked along M."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from icl.comparisons.measured import Curve, Measured, finite


def to_json(measured: Measured) -> dict[str, Any]:
    """Plain data: null for nan, and text for an infinite ratio, so that reading it back gives the same number."""
    return {
        "numbers": {name: [_text(v) for v in value.tolist()] for name, value in measured.numbers.items()},
        "intervals": {name: finite(value.tolist()) for name, value in measured.intervals.items()},
        "curves": {name: curve.to_json() for name, curve in measured.curves.items()},
        "n_prompts": measured.n_prompts,
    }


def from_json(entry: Mapping[str, Any]) -> Measured:
    def tensor(value: Any) -> torch.Tensor:
        return torch.tensor(_filled(value), dtype=torch.float64)

    return Measured(
        numbers={name: tensor(value) for name, value in entry["numbers"].items()},
        intervals={name: tensor(value) for name, value in entry["intervals"].items()},
        curves={name: Curve(**{k: _filled(v) for k, v in curve.items()}) for name, curve in entry["curves"].items()},
        n_prompts=entry["n_prompts"],
    )


def _text(value: float) -> float | str | None:
    return value if math.isfinite(value) else None if math.isnan(value) else str(value)


def _filled(value: Any) -> Any:
    """null as nan, inside lists."""
    if isinstance(value, list):
        return [math.nan if v is None else math.inf if v == "inf" else _filled(v) for v in value]
    return value


def stacked(parts: Sequence[Measured]) -> Measured:
    """One member after the other along M. Maps, which have no member axis, are averaged; lines add rows."""
    first = parts[0]
    return Measured(
        numbers={name: torch.cat([p.numbers[name] for p in parts]) for name in first.numbers},
        intervals={name: torch.cat([p.intervals[name] for p in parts]) for name in first.intervals},
        curves={name: _joined([p.curves[name] for p in parts if name in p.curves]) for name in first.curves},
        n_prompts=first.n_prompts,
    )


def _joined(curves: Sequence[Curve]) -> Curve:
    first = curves[0]
    rows = [torch.tensor(c.model, dtype=torch.float64) for c in curves]
    model = torch.stack(rows).mean(0) if first.kind == "map" else torch.cat(rows)
    reference = [row for c in curves for row in c.reference] if first.kind == "line" else first.reference
    notes = "; ".join(dict.fromkeys(c.note for c in curves if c.note))
    return Curve(**vars(first) | {"model": model.tolist(), "reference": reference, "note": notes})
