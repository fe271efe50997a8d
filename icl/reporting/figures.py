"""Figures of one run: the training curves, and the curves that comparisons measured."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from icl.reporting import canvas
from icl.reporting.canvas import Array
from icl.reporting.losses import draw_exact, exact_values, limit, loss_label, of_members, span_of
from icl.reporting.maps import measured_map
from icl.reporting.page import Panel, number, words

EARLY = 0.15  # of the training: a fall that is over by then is drawn against the logarithm of the step
CLOSE = 0.05  # of the reference: as far as all members are within this, a curve is said to follow it
OFF_SCALE = 1e3  # times the reference's largest value: what goes beyond leaves the figure at its top


def training_curves(
    rows: Sequence[Mapping[str, Any]], result: Mapping[str, Any], final: Sequence[float | None] | None = None
) -> Panel | None:
    """Loss against step, all members, with the exact values that the task knows as lines.

    `final` are the members' exact losses at the end, where someone has computed them. Steps are logarithmic when
    the fall is over in a small part of the training.
    """
    steps, loss = canvas.array([row["step"] for row in rows]), canvas.array([row["loss"] for row in rows])
    if len(rows) < 2 or not np.isfinite(loss).any():
        return None
    exact, kept, halves = exact_values(result), canvas.thin(len(steps)), half_way(steps, loss)
    figure, axes = canvas.new()
    name = of_members(loss.shape[1], "trained model")
    canvas.bundle(axes, steps[kept], loss[kept], color=canvas.MODEL, name=name)
    draw_exact(axes, exact)
    limit(axes, loss, loss[0], exact)
    if halves.size and halves.max() < EARLY * steps[-1]:
        canvas.step_axis(axes, int(steps[-1]), first=int(steps[1]))
    else:
        axes.set_xlim(0, steps[-1])
    canvas.name_axes(axes, "training step", loss_label(result))
    canvas.legend(figure, axes)
    title, caption = "Training", _training_caption(loss, halves, result, final)
    return Panel(title, canvas.to_svg(figure, "training", f"{title}. {caption}"), caption)


def _training_caption(
    loss: Array, halves: Array, result: Mapping[str, Any], final: Sequence[float | None] | None
) -> str:
    ends = canvas.array(final or result.get("final_loss") or loss[-1])
    ends = ends[np.isfinite(ends)]
    if not ends.size:
        return "No member ended with a finite loss."
    end, best = float(np.median(ends)), exact_values(result).get("best_one_step")
    who = "The model ends" if loss.shape[1] == 1 else f"The {loss.shape[1]} members end"
    middle = "" if loss.shape[1] == 1 else " (median)"
    how = "an exact loss of" if final else "a loss, estimated on fresh prompts, of"
    caption = f"{who} at {how} {number(end)}{middle}"
    if final and best:
        caption += f", {100 * (end / best - 1):.2g} % above the best single step"
    return caption + (f"; half of the fall is done {span_of(halves)}." if halves.size else ".")


def half_way(steps: Array, loss: Array) -> Array:
    """The step at which a member's loss, smoothed over five rows, has done half of its fall.

    Members that fall by less than a tenth have no such step.
    """
    window = min(5, len(steps))
    found = []
    for member in loss.T:
        smooth = np.convolve(member, np.ones(window) / window, mode="valid")
        if np.isfinite(smooth).all() and smooth[-1] < 0.9 * smooth[0]:
            first = int(np.argmax(smooth <= (smooth[0] + smooth[-1]) / 2))
            found.append(steps[first + window // 2])
    return np.array(found)


def comparison_curve(key: str, curve: Mapping[str, Any]) -> Panel | None:
    """A curve of comparisons.json; `key` is <reference>/<comparison>/<curve>."""
    if curve.get("kind") == "map":
        return measured_map(key, curve)
    draw = {"line": _line, "scatter": _scatter}.get(curve.get("kind", "line"))
    if draw is None or not np.isfinite(canvas.array(curve.get("model") or np.nan)).any():
        return None
    figure, axes = canvas.new()
    caption = draw(axes, dict(curve), words(key.split("/")[0]))
    canvas.name_axes(axes, curve.get("x_label", ""), curve.get("y_label", ""))
    canvas.legend(figure, axes)
    title, note = curve.get("title") or words(key.split("/")[-1]), (curve.get("note") or "").rstrip(".")
    if curve.get("model_label", "trained model") != "trained model":
        first, _, rest = title.partition(" ")
        begins = first.lower() if first[1:].islower() else first  # a name such as SimAM-delta stays as it is
        title = f"{words(key.split('/')[0])}: {begins} {rest}".rstrip()
    caption += f" ({note})." if note else "."
    return Panel(title, canvas.to_svg(figure, key, f"{title}. {caption}"), caption)


def _line(axes: Any, curve: Mapping[str, Any], name: str) -> str:
    x, model = canvas.array(curve["x"]), canvas.array(curve["model"]).T
    reference = canvas.array(curve["reference"]).T if curve.get("reference") else None
    label = curve.get("reference_label") or "reference"
    label = name if label == "reference" else label
    seen = curve.get("model_label") or "trained model"
    canvas.bundle(axes, x, model, color=canvas.MODEL, name=of_members(model.shape[1], seen))
    values = model[np.isfinite(model)]
    if reference is not None:
        known = reference[np.isfinite(reference)]
        median = canvas.median(reference)
        axes.plot(x, median, color=canvas.OTHER, linewidth=2.0, linestyle=canvas.DASHES[0], label=label)
        values = np.concatenate([np.minimum(values, OFF_SCALE * known.max(initial=0) or np.inf), known])
    for which, drawn in (("x", x), ("y", values)):
        low, high = float(drawn.min()), float(drawn.max())
        canvas.range_axis(axes, which, low, high, log=bool(curve.get(f"log_{which}")) and low > 0)
    if seen != "trained model":  # an arm of a study, which need not agree with anything
        return f"Seeds are thin lines, their median is thick{'' if reference is None else f'; {label} dashed'}"
    return agreement(x, model, reference, label, curve.get("x_label", "").rpartition(", ")[-1])


def agreement(x: Array, model: Array, reference: Array | None, label: str, symbol: str) -> str:
    """In words: how far the members (K, M) are from the reference at most, and up to where they follow it."""
    many = model.shape[1] > 1
    who = f"Each of the {model.shape[1]} trained members" if many else "The trained model"
    if reference is None:
        return f"{who} is a thin line, their median the thick one" if many else who
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = np.where((reference > 0) & (model > 0), model / reference, np.nan)
    known = np.isfinite(ratio)
    if not known.any() or (reference < 0).any():
        return f"{who} is drawn in blue, {label} dashed"
    away = np.where(known, np.abs(ratio - 1), 0.0).max(axis=1)
    if away.max() < 1:
        return f"{who} stays within {100 * away.max():.2g} % of {label} (dashed) at every point"
    factor = canvas.tick(float(f"{max(np.nanmax(ratio), 1 / np.nanmin(ratio)):.2g}"))
    parting = f"they part by up to a factor of {factor}"
    close = int(np.argmax(away > CLOSE))
    if close < 2:
        return f"{who} is drawn in blue, {label} dashed: {parting}"
    share, until = 100 * away[:close].max(), f"{symbol} = {number(float(x[close - 1]))}"
    return f"{who} stays within {share:.2g} % of {label} (dashed) up to {until}; beyond, {parting}"


def _scatter(axes: Any, curve: Mapping[str, Any], name: str) -> str:
    x, y = canvas.array(curve["x"]), canvas.array(curve["model"])
    finite = np.isfinite(x) & np.isfinite(y)
    a, b = x[finite], y[finite]
    low, high = float(min(a.min(), b.min())), float(max(a.max(), b.max()))
    margin = 0.04 * (high - low) or 1.0
    ends = (low - margin, high + margin)
    kept = canvas.thin(a.size, canvas.VECTOR_POINTS)
    axes.plot(ends, ends, color=canvas.SOFT, linewidth=1.2, linestyle=canvas.DASHES[0], label="equal", zorder=1)
    axes.plot(a[kept], b[kept], ".", color=canvas.MODEL, markersize=5, alpha=0.4, mew=0, rasterized=True)
    axes.set(xlim=ends, ylim=ends, aspect="equal")
    apart, size = float(np.sqrt(np.mean((a - b) ** 2))), float(np.sqrt(np.mean(a**2)))
    return (
        f"One point a prompt, {x.shape[-1]:,} prompts for each of {len(x)} members, against {name}; the r.m.s. "
        f"distance from the diagonal is {100 * apart / size if size else 0:.2g} % of the r.m.s. prediction"
    )
