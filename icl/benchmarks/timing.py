"""Paired timing on a shared, noisy machine.

Candidates run in turn (A B C, C B A, ...), so that drift hits all alike; a ratio is taken round by round, then its
median and range. The clock is the CPU time of the process, which a neighbour's load disturbs far less than wall time;
on a GPU it is wall time, read when the device is done.
"""

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

WARM_CPU, WARM_CUDA = 2, 20  # untimed calls of each candidate


def nothing() -> None:
    """The CPU need not be waited for."""


@dataclass(frozen=True)
class Clock:
    """Seconds by `read`, once `wait` says that the device is done; `elapsed` decides when a round is over."""

    name: str
    read: Callable[[], float]
    wait: Callable[[], object] = nothing
    elapsed: Callable[[], float] = time.perf_counter


def clock(name: str, device: str) -> Clock:
    """`cpu` or `wall`, for work on `device`."""
    if device.startswith("cuda"):
        import torch

        return Clock("wall", time.perf_counter, torch.cuda.synchronize)
    return Clock(name, time.process_time if name == "cpu" else time.perf_counter)


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """A candidate's work a second over that of another in the same round; `of` says which work."""

    to: str
    of: Literal["work", "flop"] = "work"
    at_least: float | None = None


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Something to time: one `call` does `work` units and `flop` floating-point operations (0: not worth stating)."""

    name: str
    call: Callable[[], object]
    work: float = 1.0
    flop: float = 0.0
    unit: str = "models*steps"
    ratios: Sequence[Ratio] = ()


@dataclass(frozen=True)
class Spread:
    """The median of a number over rounds, and its range."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        values = list(values)
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{self.median:.4g} [{self.low:.4g}..{self.high:.4g}]"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A number with its goal, if there is one for it; the median is judged."""

    what: str
    value: Spread
    at_least: float | None = None
    at_most: float | None = None

    @property
    def met(self) -> bool | None:
        """None: no goal."""
        if self.at_least is None and self.at_most is None:
            return None
        low = -float("inf") if self.at_least is None else self.at_least
        high = float("inf") if self.at_most is None else self.at_most
        return low <= self.value.median <= high

    def __str__(self) -> str:
        bounds = [f"{sign} {x:g}" for sign, x in ((">=", self.at_least), ("<=", self.at_most)) if x is not None]
        goal = f", goal {' and '.join(bounds)}: {'met' if self.met else 'MISSED'}" if bounds else ""
        return f"{self.value} {self.what}{goal}"


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was measured of one candidate; `seconds` are those of one call, one a round."""

    name: str
    seconds: Sequence[float] = ()
    work: float = 0.0
    flop: float = 0.0
    unit: str = ""
    verdicts: Sequence[Verdict] = ()

    def record(self) -> dict[str, Any]:
        """For JSON."""
        found: dict[str, Any] = {"name": self.name}
        if self.seconds:
            spread = Spread.of(self.seconds)
            extremes = {"median": 1e3 * spread.median, "min": 1e3 * spread.low, "max": 1e3 * spread.high}
            found["ms"] = extremes | {"rounds": [1e3 * s for s in self.seconds]}
            if self.work:
                found[f"{self.unit}/s"] = self.work / spread.median
            if self.flop:
                found["GF/s"] = self.flop / spread.median / 1e9
        found["numbers"] = [
            {"what": v.what, "median": v.value.median, "min": v.value.low, "max": v.value.high}
            | ({} if v.met is None else {"at_least": v.at_least, "at_most": v.at_most, "met": v.met})
            for v in self.verdicts
        ]
        return found

    def __str__(self) -> str:
        spread = Spread.of(1e3 * s for s in self.seconds) if self.seconds else None
        parts = [f"{self.name:42s}", f"{spread} ms"]
        if spread and self.work:
            parts.append(f"{1e3 * self.work / spread.median:.4g} {self.unit}/s")
        if spread and self.flop:
            parts.append(f"{self.flop / spread.median / 1e6:.4g} GF/s")
        if not spread:
            return "\n".join(f"{self.name:42s}  {verdict}" for verdict in self.verdicts)
        return "\n".join(["  ".join(parts), *(f"    {verdict}" for verdict in self.verdicts)])


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows measured in the same rounds, and what is to be known about them."""

    title: str
    rows: Sequence[Row]
    notes: Sequence[str] = ()


def in_turn(names: Sequence[str], rounds: int, measure: Callable[[str], float]) -> dict[str, list[float]]:
    """`measure` of each name, `rounds` times: A B C, C B A, ..."""
    found: dict[str, list[float]] = {name: [] for name in names}
    for i in range(rounds):
        for name in names if i % 2 == 0 else reversed(names):
            found[name].append(measure(name))
    return found


def seconds_a_call(call: Callable[[], object], seconds: float, clock: Clock) -> float:
    """Of `clock`, over as many calls as fit into about `seconds` of elapsed time."""
    clock.wait()
    n, begun, start = 0, clock.elapsed(), clock.read()
    while n == 0 or clock.elapsed() - begun < seconds:
        call()
        n += 1
    clock.wait()
    return (clock.read() - start) / n


def paired(
    candidates: Sequence[Candidate], *, rounds: int, seconds: float, clock: Clock, warm: int = WARM_CPU
) -> list[Row]:
    """Time all candidates, and take their ratios."""
    for candidate in candidates:
        for _ in range(warm):
            candidate.call()
    calls = {candidate.name: candidate.call for candidate in candidates}
    times = in_turn(list(calls), rounds, lambda name: seconds_a_call(calls[name], seconds, clock))
    return rows(candidates, times)


def rows(candidates: Sequence[Candidate], times: Mapping[str, Sequence[float]]) -> list[Row]:
    """From seconds a call to rates and ratios."""
    by_name = {candidate.name: candidate for candidate in candidates}

    def verdict(candidate: Candidate, ratio: Ratio) -> Verdict:
        other = by_name[ratio.to]
        factor = getattr(candidate, ratio.of) / getattr(other, ratio.of)
        value = Spread.of(factor * b / a for a, b in zip(times[candidate.name], times[ratio.to], strict=True))
        what = f"x {ratio.to}" if ratio.of == "work" else f"of {ratio.to}"
        return Verdict(what=what, value=value, at_least=ratio.at_least)

    return [
        Row(name=c.name, seconds=times[c.name], work=c.work, flop=c.flop, unit=c.unit,
            verdicts=[verdict(c, ratio) for ratio in c.ratios])
        for c in candidates
    ]  # fmt: skip
