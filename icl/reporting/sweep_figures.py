"""Figures of a sweep: the training curves of all its members, and the final loss over the swept axes."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from icl.reporting import canvas
from icl.reporting.canvas import Array
from icl.reporting.losses import draw_exact, exact_values, limit, loss_label
from icl.reporting.page import Panel, number
from icl.reporting.swept import SweptRun, as_number, main_axes, ordered

LEGEND_ENTRIES = 6
POINTS = 120_000  # of all curves together


def all_curves(runs: Sequence[SweptRun], swept: Sequence[str]) -> Panel | None:
    """Loss against step of every member, coloured by the swept key with the most values."""
    from matplotlib.collections import LineCollection

    by = next((key for key in main_axes(runs, swept) if key != "seed"), None)
    lines, values = _lines(runs, by)
    if not lines:
        return None
    colors, exact = _colors(ordered(values)), _shared_exact(runs)
    figure, axes = canvas.new(width=5.4, height=3.4)
    alpha = float(np.clip(4 / np.sqrt(len(lines)), 0.15, 0.8))
    drawn = LineCollection(lines, colors=[colors[value] for value in values], linewidths=0.9, alpha=alpha)
    drawn.set_rasterized(sum(map(len, lines)) > canvas.VECTOR_POINTS)
    axes.add_collection(drawn)
    _entries(axes, colors)
    draw_exact(axes, exact)
    limit(axes, np.concatenate([line[:, 1] for line in lines]), np.array([line[0, 1] for line in lines]), exact)
    axes.set_xlim(0, max(line[-1, 0] for line in lines))
    canvas.name_axes(axes, "training step", loss_label(next((run.result for run in runs if run.result), {})))
    canvas.legend(figure, axes, columns=2, title=by)
    caption = f"Every line is one of {len(lines):,} members" + (f", coloured by {by}." if by else ".")
    return Panel("All training curves", canvas.to_svg(figure, "curves", caption), caption)


def _lines(runs: Sequence[SweptRun], by: str | None) -> tuple[list[Array], list[str]]:
    """One (K, 2) array of (step, loss) a member, and the value of the key `by` of its run."""
    most = int(np.clip(POINTS / max(sum(run.members for run in runs), 1), 60, canvas.POINTS_PER_LINE))
    lines, values = [], []
    for run in runs:
        rows = run.folder.metrics(most)
        if len(rows) < 2:
            continue
        steps, loss = canvas.array([row["step"] for row in rows]), canvas.array([row["loss"] for row in rows])
        members = loss.T[np.isfinite(loss[0])]
        lines += [np.column_stack([steps, member]) for member in members]
        values += [run.values[by] if by else ""] * len(members)
    return lines, values


def _shared_exact(runs: Sequence[SweptRun]) -> dict[str, float]:
    """Exact values, where they are the same for every run."""
    known = [exact_values(run.result) for run in runs if run.result]
    return known[0] if known and all(one == known[0] for one in known) else {}


def _colors(values: Sequence[str]) -> dict[str, Any]:
    """Few values: the palette. Many: shades in their order, which the colour-blind see too."""
    if len(values) <= len(canvas.CYCLE):
        return dict(zip(values, canvas.CYCLE, strict=False))
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    shades = colormaps["viridis"](np.linspace(0.08, 0.92, len(values)))
    return {value: to_hex(shade) for value, shade in zip(values, shades, strict=True)}


def _entries(axes: Any, colors: dict[str, Any]) -> None:
    """Legend entries for the colours, or for a few of many."""
    values = [] if list(colors) == [""] else list(colors)
    for value in (values[i] for i in canvas.thin(len(values), LEGEND_ENTRIES)):
        label = value if as_number(value) is None else number(as_number(value), 3)
        axes.plot([], [], color=colors[value], linewidth=2.2, label=label)


def over_axes(runs: Sequence[SweptRun], swept: Sequence[str]) -> Panel | None:
    """Final loss over the key with the most values; another key is the colour, further ones are pooled."""
    alive = [run for run in runs if run.finite.size]
    order = [key for key in main_axes(runs, swept) if len({run.values[key] for run in alive}) > 1]
    if not order:
        return None
    along, by = order[0], next((key for key in order[1:] if key != "seed"), None)
    places = _places(ordered([run.values[along] for run in alive]))
    colors = _colors(ordered([run.values[by] for run in alive])) if by else {"": canvas.MODEL}
    figure, axes = canvas.new(width=5.4, height=3.4)
    for value, color in colors.items():
        chosen = [run for run in alive if by is None or run.values[by] == value]
        _curve(axes, chosen, along, places, color)
    _entries(axes, colors)
    _scales(axes, places, np.concatenate([run.finite for run in alive]))
    canvas.name_axes(axes, along, loss_label(alive[0].result, "final"))
    canvas.legend(figure, axes, columns=3, title=by)
    pooled = [key for key in order if key not in (along, by)]
    caption = f"Dots are members{'' if along == 'seed' else f', lines their medians at each {along}'}"
    caption += f", coloured by {by}" * (by is not None) + f"; pooled over {', '.join(pooled)}" * bool(pooled)
    lost = sum(len(run.diverged) for run in runs)
    caption += f"; {lost:,} diverged and {'is' if lost == 1 else 'are'} not drawn." if lost else "."
    return Panel("Final loss over the sweep", canvas.to_svg(figure, "axes", caption), caption)


def _places(values: Sequence[str]) -> dict[str, float]:
    """Where each value stands on the axis: at itself if all are numbers, else in a row."""
    numbers = [as_number(value) for value in values]
    known = [place for place in numbers if place is not None]
    return dict(zip(values, known if len(known) == len(values) else map(float, range(len(values))), strict=True))


def _curve(axes: Any, runs: Sequence[SweptRun], along: str, places: dict[str, float], color: Any) -> None:
    groups: dict[float, list[Array]] = {}
    for run in runs:
        groups.setdefault(places[run.values[along]], []).append(run.finite)
    pooled = {place: np.concatenate(losses) for place, losses in sorted(groups.items())}
    x = np.concatenate([np.full(len(losses), place) for place, losses in pooled.items()])
    many = len(x) > canvas.VECTOR_POINTS // 10
    dots = np.concatenate(list(pooled.values()))
    axes.plot(x, dots, ".", color=color, alpha=0.35 if many else 0.6, markersize=6, mew=0, rasterized=many)
    if along != "seed":
        axes.plot(list(pooled), list(map(np.median, pooled.values())), "-o", color=color, linewidth=2, markersize=5)


def _scales(axes: Any, places: dict[str, float], losses: Array) -> None:
    x = list(places.values())
    if None in map(as_number, places):
        crowded = sum(map(len, places)) > 40
        axes.set_xticks(x, list(places), rotation=25 if crowded else 0, ha="right" if crowded else "center")
    else:
        canvas.range_axis(axes, "x", min(x), max(x), log=multiplicative(np.array(x)))
    if len(x) <= LEGEND_ENTRIES and None not in map(as_number, places):
        axes.set_xticks(x, [canvas.tick(place) for place in x])
        axes.set_xticks([], minor=True)
    canvas.range_axis(axes, "y", float(losses.min()), float(losses.max()))


def multiplicative(x: Array) -> bool:
    """Whether the values of a key want a logarithmic axis: they span much, or their ratios are the more even."""
    if x.min() <= 0:
        return False
    uneven = [float(gaps.std() / gaps.mean()) for gaps in (np.diff(np.log(x)), np.diff(x))]
    return bool(x.max() / x.min() > canvas.WIDE or (len(x) > 2 and uneven[0] < uneven[1]))
