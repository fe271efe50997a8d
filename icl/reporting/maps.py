"""A measured map as a figure: R rows of K numbers, in colours, each number in its cell while there is room."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from icl.reporting import canvas
from icl.reporting.page import Panel, number, words

ROOM = 90  # cells, up to which the numbers are written into them
TICKS, NAMES = 12, 24  # numbers an axis, at most; names, of which none can be guessed from its neighbours
ROW = 0.34  # inches


def measured_map(key: str, curve: Mapping[str, Any]) -> Panel | None:
    """The panel of a `Curve` of kind map. Numbers of both signs get a scale that is white at zero."""
    values = np.array(curve["model"], dtype=float)
    known = values[np.isfinite(values)]
    if not known.size:
        return None
    rows, columns = values.shape
    figure, axes = canvas.new(height=1.6 + ROW * min(rows, 20))
    signed = known.min() < 0 < known.max()
    size = float(np.abs(known).max()) or 1.0
    low, high = (-size, size) if signed else (float(known.min()), float(known.max()))
    image = axes.imshow(values, cmap="RdBu_r" if signed else "Blues", vmin=low, vmax=high, aspect="auto",
                        interpolation="nearest")  # fmt: skip
    axes.spines[:].set_visible(False)
    for axis, labels in ((axes.xaxis, curve["x"]), (axes.yaxis, curve["y"])):
        most = NAMES if isinstance(labels[0], str) else TICKS
        shown = range(0, len(labels), -(-len(labels) // most))
        axis.set_ticks(list(shown), [_label(labels[i]) for i in shown])
    if max(len(_label(name)) for name in curve["x"]) > 4:
        axes.tick_params(axis="x", labelrotation=90)
    for which, labels in (("x", curve["x"]), ("y", curve["y"])):
        if len(labels) > TICKS:
            axes.tick_params(axis=which, labelsize=canvas.FONT - 4)
    if rows * columns <= ROOM:
        _write(axes, values, image)
    else:
        bar = figure.colorbar(image, ax=axes, orientation="horizontal", shrink=0.8, aspect=30)
        bar.ax.xaxis.set_major_formatter(canvas.tick)
        bar.ax.tick_params(labelsize=canvas.FONT, color=canvas.SOFT, labelcolor=canvas.INK)
        bar.outline.set_visible(False)
    canvas.name_axes(axes, curve.get("x_label", ""), curve.get("y_label", ""), grid=False)
    title = curve.get("title") or words(key.split("/")[-1])
    caption = f"From {number(float(known.min()), 3)} to {number(float(known.max()), 3)}"
    note = (curve.get("note") or "").rstrip(".")
    caption += f" ({note})." if note else "."
    return Panel(title, canvas.to_svg(figure, key, f"{title}. {caption}"), caption)


def _label(name: Any) -> str:
    return name.replace("_", " ") if isinstance(name, str) else canvas.tick(float(name))


def _write(axes: Any, values: canvas.Array, image: Any) -> None:
    """Each number in its cell, dark on light colours and light on dark ones."""
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            red, green, blue, _ = image.cmap(image.norm(value))
            ink = "black" if 0.3 * red + 0.59 * green + 0.11 * blue > 0.5 else "white"
            text = f"{value:.2g}".replace("-", "−")
            axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=canvas.FONT - 2)
