"""A claim: a metric, a bound and a source; what an experiment file states before anything is trained."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from icl.config import ConfigError, nearest

OVER = ("every_seed", "mean", "average")
PROBES = "probes"  # where a comparison's metric names its reference


@dataclass(kw_only=True)  # not frozen: OmegaConf would refuse to merge an experiment into a frozen schema
class Claim:
    """A bound on one metric, `<reference>/<comparison>/<number>` or `probes/<probe>/<number>`.

        at_most: 1.01      at_least: 0.999      between: [0.9, 1.1]      near: {value: 0.206, within: 1%}

    Several bounds may stand together: all must hold. `over: every_seed` asks it of each seed; `over: mean` of
    the whole 95 % Student t interval of the mean over seeds, which for one seed is the whole line; `over: average` of
    the mean alone, with the interval printed beside it. With `minus`, another metric, the claim is on their difference,
    seed by seed.

    Raises:
        ConfigError: the bound is missing, malformed or empty.
    """

    metric: str
    at_most: Any = None  # Any: whatever a YAML file says, so that one line of ours refuses it
    at_least: Any = None
    between: Any = None
    near: Any = None
    over: str = "every_seed"
    minus: Any = None
    source: str = ""
    source_value: Any = None
    only_if: str = ""  # the condition under which it is stated, where the source states it without

    def __post_init__(self) -> None:
        if self.over not in OVER:
            raise ConfigError(f"over={self.over!r} is unknown{nearest(str(self.over), OVER)}")
        low, high = self.interval
        if low == -math.inf and high == math.inf:
            raise ConfigError("there is no bound (one of: at_most, at_least, between, near)")
        if low > high:
            raise ConfigError(f"no number is {self.bound}")

    @property
    def subject(self) -> str:
        """What is judged: the metric, or the difference of two."""
        return self.metric if self.minus is None else f"{self.metric} − {self.minus}"

    @property
    def interval(self) -> tuple[float, float]:
        """The numbers that satisfy every bound."""
        lows, highs = [-math.inf], [math.inf]
        if self.at_least is not None:
            lows.append(_number("at_least", self.at_least))
        if self.at_most is not None:
            highs.append(_number("at_most", self.at_most))
        if self.between is not None:
            if not isinstance(self.between, Sequence) or len(self.between) != 2:
                raise ConfigError(f"between={self.between!r} must be two numbers, [low, high]")
            lows.append(_number("between", self.between[0]))
            highs.append(_number("between", self.between[1]))
        if self.near is not None:
            value, distance = _near(self.near)
            lows.append(value - distance)
            highs.append(value + distance)
        return max(lows), min(highs)

    @property
    def bound(self) -> str:
        """The bounds as text, e.g. `<= 1.01`."""
        parts = [] if self.at_least is None else [f">= {self.at_least:g}"]
        parts += [] if self.at_most is None else [f"<= {self.at_most:g}"]
        parts += [] if self.between is None else [f"in [{self.between[0]:g}, {self.between[1]:g}]"]
        if self.near is not None:
            within = self.near["within"]
            within = within if isinstance(within, str) else f"{100 * within:g}%"
            parts.append(f"within {within} of {self.near['value']:g}")
        return " and ".join(parts)


def _near(near: Any) -> tuple[float, float]:
    """The value and the distance allowed from it: a share of it, `1%` or 0.01."""
    if not isinstance(near, Mapping) or set(near) != {"value", "within"}:
        raise ConfigError(f"near={near!r} must have the keys value and within")
    within, value = near["within"], _number("near.value", near["value"])
    if isinstance(within, str) and re.fullmatch(r"\s*[0-9]*\.?[0-9]+\s*%\s*", within):
        within = float(within.strip().rstrip("%")) / 100
    share = _number("near.within", within)
    if share <= 0 or value == 0:
        raise ConfigError(f"near={near!r} needs within > 0 and a value other than 0 (there, use between)")
    return value, share * abs(value)


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"{name}={value!r} must be a finite number")
    return float(value)


def read(claims: Mapping[str, Any]) -> dict[str, Claim]:
    """The claims of an experiment file.

    Raises:
        ConfigError: a key is unknown, the metric is missing or a bound is bad.
    """
    known = {field.name for field in fields(Claim)}
    for id, claim in claims.items():
        if not isinstance(claim, Mapping) or "metric" not in claim:
            raise ConfigError(f"claims.{id}={claim!r} must have a metric, <reference>/<comparison>/<number>")
        if unknown := sorted(set(claim) - known):
            raise ConfigError(f"claims.{id}.{unknown[0]} is unknown{nearest(unknown[0], known)}")
        try:
            Claim(**claim)
        except ConfigError as error:
            raise ConfigError(f"claims.{id}.{error}") from None
    return {id: Claim(**claim) for id, claim in claims.items()}


def metrics(
    references: Iterable[str], comparisons: Mapping[str, Any], probes: Mapping[str, Any], runs: Iterable[str] = ()
) -> set[str]:
    """Every name that a claim may use; `comparisons` and `probes` are classes by the name of their mount.

    Probes look into the references that are `runs` too.
    """
    compared = {f"{r}/{name}/{number}" for r in references for name, c in comparisons.items() for number in c.numbers}
    looked = {f"{at}/{p}/{number}" for at in (PROBES, *runs) for p, probe in probes.items() for number in probe.numbers}
    return compared | looked


def unknown_metrics(claims: Mapping[str, Claim], available: Iterable[str]) -> list[str]:
    """One line a claim whose metric does not exist, with the nearest that does. Ask before training."""
    known = set(available)
    return [
        f"claims.{id}.metric={claim.metric!r} is unknown{nearest(claim.metric, known)}"
        for id, claim in claims.items()
        if claim.metric not in known
    ] + [
        f"claims.{id}.minus={claim.minus!r} is unknown{nearest(str(claim.minus), known)}"
        for id, claim in claims.items()
        if claim.minus is not None and claim.minus not in known
    ]
