"""What a comparison hands back: numbers with intervals, one a member, and curves for the report."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal, Protocol

from jaxtyping import Float
from torch import Tensor

from icl.rng import Draw


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One figure: a line over K points a member, a scatter of K points a member, or a map of R rows of K numbers.

    A line has x of K numbers, `model` of M rows and `reference` of M rows or one. A scatter has x of M rows
    (the reference's answers), `model` of M rows beside it, and no `reference`. A map has x of K and y of R numbers
    or names, in `model` R rows of K numbers, in `reference` rows that they may be held against.
    """

    kind: Literal["line", "scatter", "map"]
    title: str
    x_label: str
    y_label: str
    x: Sequence[Any]
    model: Sequence[Sequence[float]]
    reference: Sequence[Sequence[float]] = ()
    y: Sequence[Any] = ()
    reference_label: str = "reference"
    model_label: str = "trained model"
    log_x: bool = False
    log_y: bool = False
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        return finite(asdict(self))


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The result of one comparison. An interval is 95 %, over prompts: never over seeds."""

    numbers: dict[str, Float[Tensor, "#M"]]
    intervals: dict[str, Float[Tensor, "#M 2"]] = field(default_factory=dict)
    curves: dict[str, Curve] = field(default_factory=dict)
    n_prompts: int = 0  # 0: exact


class Comparison(Protocol):
    """A question to two predictors, about one task. `numbers` are the names that a claim may use.

    Optional: `suits(model)` raises ConfigError, before any training, for a model that has not what is measured.
    """

    numbers: ClassVar[tuple[str, ...]]

    def measure(self, model: Any, reference: Any, task: Any, draw: Draw) -> Measured: ...


def record(measured: Mapping[str, Measured]) -> dict[str, Any]:
    """The content of comparisons.json; the keys of `measured` are `<reference>/<comparison>`."""
    return {
        "numbers": {f"{at}/{name}": finite(v.tolist()) for at, m in measured.items() for name, v in m.numbers.items()},
        "intervals": {
            f"{at}/{name}": finite(v.tolist()) for at, m in measured.items() for name, v in m.intervals.items()
        },
        "n_prompts": {at: m.n_prompts for at, m in measured.items()},
        "curves": {f"{at}/{name}": c.to_json() for at, m in measured.items() for name, c in m.curves.items()},
    }


def finite(value: Any) -> Any:
    """Plain data with null for nan and infinity, which JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, list | tuple) else value
