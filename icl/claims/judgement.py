"""A claim judged over the seeds of one run, as one line for a person and as JSON."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from icl.claims.claim import Claim, unknown_metrics
from icl.comparisons.measured import finite
from icl.config import ConfigError


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A claim and what the seeds say to it. A nan member fails any claim; the statistics leave it out."""

    id: str
    claim: Claim
    values: tuple[float, ...]
    seeds: tuple[int, ...]
    interval: tuple[float, float] | None  # of the mean over seeds; None for every_seed

    @property
    def nan_seeds(self) -> tuple[int, ...]:
        return tuple(seed for seed, value in zip(self.seeds, self.values, strict=True) if math.isnan(value))

    @property
    def failing_seeds(self) -> tuple[int, ...]:
        """Seeds that break the bound; for a claim on the mean, those without a number."""
        low, high = self.claim.interval
        if self.claim.over != "every_seed":
            return self.nan_seeds
        return tuple(s for s, value in zip(self.seeds, self.values, strict=True) if not low <= value <= high)

    @property
    def holds(self) -> bool:
        low, high = self.claim.interval
        inside = self.interval is None or low <= self.interval[0] <= self.interval[1] <= high
        if self.claim.over == "average":
            inside = low <= self.statistics["mean"] <= high
        return inside and not self.failing_seeds

    @property
    def statistics(self) -> dict[str, float]:
        """Over seeds; `worst` is the value nearest to breaking the bound, or breaking it most."""
        low, high = self.claim.interval
        v = [value for value in self.values if not math.isnan(value)] or [math.nan]
        worst = min(v, key=lambda value: min(value - low, high - value))
        return {
            "worst": worst, "median": statistics.median(v), "min": min(v), "max": max(v),
            "mean": sum(v) / len(v),
        }  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """One entry of claims.json; null for nan and infinity."""
        claim = self.claim
        entry = {
            "id": self.id, "metric": claim.subject, "over": claim.over, "bound": claim.bound,
            "source": claim.source, "source_value": claim.source_value, "values": self.values,
            "seeds": self.seeds, **self.statistics, "interval": self.interval, "holds": self.holds,
            "failing_seeds": self.failing_seeds, "only_if": claim.only_if,
        }  # fmt: skip
        return finite(entry)


def judge(claims: Mapping[str, Claim], numbers: Mapping[str, Any], seeds: Sequence[int]) -> list[Judgement]:
    """Every claim against its metric's numbers, one a seed (None, the null of JSON, is nan).

    Raises:
        ConfigError: a metric is unknown, or has another number of members than there are seeds.
    """
    if lines := unknown_metrics(claims, numbers):
        raise ConfigError(lines[0])
    judgements = []
    for id, claim in claims.items():
        values = seedwise(numbers[claim.metric])
        if claim.minus is not None:
            values = tuple(a - b for a, b in zip(values, seedwise(numbers[claim.minus]), strict=True))
        if len(values) != len(seeds):
            raise ConfigError(f"claims.{id}: {claim.metric} has {len(values)} numbers for {len(seeds)} seeds")
        interval = None if claim.over == "every_seed" else student_interval(values)
        judgements.append(Judgement(id=id, claim=claim, values=values, seeds=tuple(seeds), interval=interval))
    return judgements


def seedwise(values: Any) -> tuple[float, ...]:
    """One number a seed, of a list or a tensor; the null of JSON is nan."""
    return tuple(math.nan if value is None else float(value) for value in values)


def student_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """mean ± t_{M−1} s/√M over M seeds; the whole line for one."""
    n, mean = len(values), sum(values) / len(values)
    if n < 2:
        return -math.inf, math.inf
    from scipy.special import stdtrit  # a tenth of the import time of scipy.stats

    spread = math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1) / n)
    half = float(stdtrit(n - 1, (1 + level) / 2)) * spread
    return mean - half, mean + half


def line(judgement: Judgement) -> str:
    """The verdict, ours with its spread, the bound, and the source's value, in one line."""
    claim, s = judgement.claim, {name: f"{value:.5g}" for name, value in judgement.statistics.items()}
    n = len(judgement.seeds)
    ours = f"worst {s['worst']}, median {s['median']}, range {s['min']}..{s['max']} over {n} seed{'s' * (n > 1)}"
    if judgement.interval is not None:
        ours = f"mean {s['mean']} [{judgement.interval[0]:.5g}, {judgement.interval[1]:.5g}], {ours}"
    value = "" if claim.source_value is None else f" {claim.source_value}"
    source = f"; source:{value} ({claim.source})" if claim.source else f"; source:{value}" if value else ""
    failing = ", ".join(f"{seed}{' (nan)' * (seed in judgement.nan_seeds)}" for seed in judgement.failing_seeds)
    verdict = "holds" if judgement.holds else "FAILS"
    failing = f"; failing seeds: {failing}" if failing else ""
    return f"{verdict}  {judgement.id}: {ours}; bound {claim.bound}{source}{failing}"


def record(experiment: str, judgements: Sequence[Judgement]) -> dict[str, Any]:
    """The content of claims.json."""
    return {
        "experiment": experiment,
        "claims": [judgement.to_json() for judgement in judgements],
        "holds": all(judgement.holds for judgement in judgements),
    }
