"""Sections of a study of a language model: arms over seeds, their paired differences, and every metric a layer."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from icl.claims.claim import PROBES
from icl.claims.judgement import seedwise, student_interval
from icl.reporting.page import Raw, breakable, folded, measured, table

LEFT_OUT = ("learning_rate", "diverged", "lr_least", "lr_most")
MOST_LAYERS = 200


def arms(comparisons: Mapping[str, Any]) -> str:
    """Mean over seeds with its Student t interval, and the difference to the first arm, seed by seed."""
    numbers = comparisons.get("numbers") or {}
    rows, first = [], {}
    for key, values in numbers.items():
        reference, _, metric = key.partition("/")
        if reference == PROBES or metric.rpartition("/")[2] in LEFT_OUT:
            continue
        own = seedwise(values)
        base = first.setdefault(metric, (reference, own))
        apart = [a - b for a, b in zip(own, base[1], strict=True)]
        difference = (
            "" if base[0] == reference else f"{interval(apart)}<small>{signs(apart)}, against {escape(base[0])}</small>"
        )
        rows.append((metric, [Raw(breakable(key)), Raw(interval(own)), Raw(difference or "the first arm")]))
    rows.sort(key=lambda row: row[0])  # the same question of all arms together
    columns = ("Arm / question / number", "Mean over seeds, 95 %", "Paired difference, 95 %")
    return table(columns, [row for _, row in rows], numeric=(1, 2)) if rows else ""


def interval(values: Sequence[float]) -> str:
    """mean [low, high], and how many seeds have a number."""
    known = [v for v in values if v == v]
    if not known:
        return "n/a"
    mean = measured(sum(known) / len(known))
    missing = (
        f" ({len(values) - len(known)} of {len(values)} diverged or undefined)" if len(known) < len(values) else ""
    )
    if len(known) < 2:
        return f"{mean}{missing}"
    low, high = student_interval(known)
    return f"{mean} [{measured(low)}, {measured(high)}]{missing}"


def signs(values: Sequence[float]) -> str:
    """`higher in 2 of 3 seeds`."""
    known = [v for v in values if v == v]
    return f"higher in {sum(v > 0 for v in known)} of {len(known)} seeds"


def layers(comparisons: Mapping[str, Any]) -> str:
    """Every metric that has a value a layer, medians over seeds."""
    curves = {k: c for k, c in (comparisons.get("curves") or {}).items() if c.get("x_label") == "layer"}
    if not curves:
        return ""
    names = [f"{key.split('/')[0]}: {curve['y_label']}" for key, curve in curves.items()]
    columns = [np.nanmedian(np.array(c["model"], dtype=float), axis=0) for c in curves.values()]
    longest = min(MOST_LAYERS, max(map(len, columns)))
    rows = [[str(i), *(measured(float(c[i])) if i < len(c) else "" for c in columns)] for i in range(longest)]
    inner = table(("Layer", *names), rows, numeric=range(1, len(names) + 1))
    return folded(f"{len(names)} metrics in {longest} layers, medians over seeds", inner)
