"""The drawing surface: a matplotlib figure without pyplot, in words of this lab, and out as inline SVG.

Ink and colours leave as CSS variables, so that one drawing fits a light page, a dark page and paper; text
leaves as text, in the page's font. matplotlib is imported inside functions: importing this is cheap.
"""

import io
import math
import re
from typing import Any

import numpy as np

# Okabe and Ito's palette (safe for colour-blind readers), each standing for a CSS variable of the page.
INK, SOFT, GRID = "#010101", "#020202", "#030303"
MODEL, OTHER, THIRD, FOURTH, FIFTH, SIXTH = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"
CYCLE = (MODEL, OTHER, THIRD, FOURTH, FIFTH, SIXTH)
VARIABLES = {INK: "ink", SOFT: "soft", GRID: "line", MODEL: "model", OTHER: "other", THIRD: "third",
             FOURTH: "fourth", FIFTH: "fifth", SIXTH: "sixth"}  # fmt: skip
FONT = 12.0  # points on a figure that is 360 points wide: 12 px on a phone
VECTOR_POINTS = 20_000  # more than these are drawn as pixels
POINTS_PER_LINE = 500
WIDE = 30.0  # positive values whose largest is more than so many times the smallest want a logarithmic axis
DASHES = ((0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (3, 1)))

Array = np.ndarray


def new(*, width: float = 5.0, height: float = 3.0, columns: int = 1) -> tuple[Any, Any]:
    """A figure and its axes (an array of them for several columns)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, columns)
    for one in np.atleast_1d(axes):
        for spine in ("top", "right"):
            one.spines[spine].set_visible(False)
        for spine in ("left", "bottom"):
            one.spines[spine].set_color(SOFT)
        one.tick_params(which="both", color=SOFT, labelcolor=INK, labelsize=FONT)
        one.set_axisbelow(True)
        for axis in (one.xaxis, one.yaxis):
            axis.set_major_formatter(tick)
    return figure, axes


def name_axes(axes: Any, x_label: str, y_label: str, *, grid: bool = True) -> None:
    axes.set_xlabel(x_label, fontsize=FONT, color=INK, parse_math=False)
    axes.set_ylabel(y_label, fontsize=FONT, color=INK, parse_math=False)
    if grid:
        axes.grid(True, color=GRID, linewidth=0.6)


def legend(figure: Any, axes: Any, *, columns: int = 1, title: str | None = None) -> None:
    """Above the axes, never over the data; the figure grows by the legend's height."""
    handles, labels = axes.get_legend_handles_labels()
    if not handles:
        return
    rows = math.ceil(len(handles) / columns) + (title is not None)
    figure.set_figheight(figure.get_figheight() + 0.25 * rows)
    drawn = figure.legend(
        handles, labels, loc="outside upper left", ncols=columns, frameon=False, fontsize=FONT, title=title,
        labelcolor=INK, alignment="left", handlelength=1.7, columnspacing=1.2, borderpad=0.1,
    )  # fmt: skip
    drawn.get_title().set(fontsize=FONT, color=INK)
    for label in (*drawn.get_texts(), drawn.get_title()):
        label.set_parse_math(False)


def bundle(axes: Any, x: Array, rows: Array, *, color: str, name: str, style: str = "-") -> None:
    """`rows` (K, M) over `x` (K,): every member a thin line, their median a thick one."""
    from matplotlib.collections import LineCollection

    members = rows.shape[1]
    if members > 1:
        lines = [np.column_stack([x, rows[:, m]]) for m in range(members)]
        faint = LineCollection(lines, colors=color, linewidths=0.8, alpha=max(0.06, 0.8 / math.sqrt(members)))
        faint.set_rasterized(rows.size > VECTOR_POINTS)
        axes.add_collection(faint)
    axes.plot(x, median(rows), color=color, linewidth=2.2, linestyle=style, label=name)


def median(rows: Array) -> Array:
    """(K, M) -> (K,): a member that is not finite counts as the largest; nan where the median is such a member."""
    middle = np.median(np.where(np.isfinite(rows), rows, np.inf), axis=1)
    return np.where(np.isfinite(middle), middle, np.nan)


def array(values: Any) -> Array:
    """Numbers from JSON, where null is a number that is not there."""
    return np.array(values, dtype=float)


def thin(n: int, limit: int = POINTS_PER_LINE) -> Array:
    """Indices of at most `limit` of n points, with the first and the last."""
    return np.unique(np.linspace(0, n - 1, min(n, limit)).round().astype(int))


def log_axis(axes: Any, which: str, low: float, high: float) -> None:
    """A logarithmic axis with ticks in plain numbers; 1, 2, 5 within a decade when it spans few of them."""
    from matplotlib.ticker import LogLocator, NullFormatter

    getattr(axes, f"set_{which}scale")("log")
    axis = axes.xaxis if which == "x" else axes.yaxis
    few = high / low < 100
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,), numticks=12 if few else 7))
    axis.set_major_formatter(tick)
    axis.set_minor_formatter(NullFormatter())


def range_axis(axes: Any, which: str, low: float, high: float, *, log: bool | None = None) -> None:
    """The axis from `low` to `high` and a margin; logarithmic if asked, or (None) if the range is wide."""
    if (low > 0 and high / low > WIDE) if log is None else log:
        log_axis(axes, which, low, high)
        getattr(axes, f"set_{which}lim")(low / 1.3, high * 1.3)
        return
    margin = 0.06 * (high - low) or abs(high) or 1.0
    getattr(axes, f"set_{which}lim")(low - margin, high + margin)


def step_axis(axes: Any, last: int, first: int = 1) -> None:
    """Steps from 0 on a logarithmic axis (linear below `first`, the first step after 0)."""
    from matplotlib.ticker import FixedLocator, NullLocator

    axes.set_xscale("symlog", linthresh=max(first, 1), linscale=0.4)
    decades = [10**k for k in range(6) if max(first, 1) <= 10**k <= last]
    axes.xaxis.set_major_locator(FixedLocator([0, *decades]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(tick)
    axes.set_xlim(0, last * 1.05)


def tick(value: Any, _: Any = None) -> str:
    """A tick as plain text: −0.02, 3,000, 10⁻⁵."""
    if value == 0 or 1e-4 <= abs(value) < 1e5:
        return f"{value:,.6g}".replace("-", "−")
    exponent = math.floor(math.log10(abs(value)) + 1e-9)
    digits = str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    lead = f"{value / 10**exponent:.3g}".replace("-", "−")
    return f"10{digits}" if lead == "1" else f"{lead}·10{digits}"


def to_svg(figure: Any, name: str, description: str) -> str:
    """Inline SVG; `name` keeps its ids apart from other figures', `description` is for who cannot see it."""
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, dpi=160)
    return tidy(buffer.getvalue(), name, description)


def tidy(svg: str, name: str, description: str) -> str:
    """Matplotlib's SVG as a part of a page: no prologue, only ids that are used, the page's colours."""
    from html import escape

    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", body, flags=re.S)
    used = set(re.findall(r'(?:href="#|url\(#)([\w.-]+)', body))
    prefix = re.sub(r"\W", "-", name)

    def keep(match: re.Match) -> str:
        return f' id="{prefix}-{match[1]}"' if match[1] in used else ""

    body = re.sub(r' id="([^"]*)"', keep, body)
    body = re.sub(r"(href=\"#|url\(#)", rf"\g<1>{prefix}-", body).replace("xlink:href", "href")
    body = re.sub(r"font-family: [^;\"]*;? ?", "", body)
    body = re.sub(r' transform="rotate\(-0 [^"]*"', "", body)
    body = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\d\.\d\d)\d+", r"\1", tag[0]), body)  # not in the texts
    for color, variable in VARIABLES.items():
        body = body.replace(color, f"var(--{variable})")
    box = re.search(r'viewBox="[^"]*"', body)
    head = f'<svg role="img" aria-label="{escape(description)}" {box[0] if box else ""}>'
    return head + body[body.index(">") + 1 :].replace("\n", " ").strip()
