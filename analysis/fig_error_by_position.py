"""Error over context length of a trained model beside all candidates, and the error on every shift.

    python analysis/fig_error_by_position.py DIR [figure.pdf]

Left: squared error at every position over E y²; every seed a thin line. Right: at the query of every shift, the model
and the candidates as they were fitted in training. `scripts/lab identify run=DIR` or `compare` leaves the data.
"""

# %% The run
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

import icl

SHOWN = {
    "least_squares": ("least squares", "black", "--"), "ridge": ("ridge", "#d55e00", "-"),
    "gradient_descent": ("gradient descent", "#009e73", "-"), "iterative_newton": ("Newton", "#cc79a7", "-"),
    "nearest_neighbours": ("neighbours", "#56b4e9", "-"), "averaging": ("averaging", "#e69f00", "-"),
}  # fmt: skip
mpl.rcParams["font.size"] = 8
run = icl.load(sys.argv[1])
target = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("error_by_position.pdf")
curves = {key.split("/")[-1]: c for key, c in run.folder.record("comparisons")["curves"].items()}


def rows_of(name: str) -> dict[str, np.ndarray]:
    """Row label -> numbers."""
    curve = curves[name]
    return dict(zip(curve["y"], np.array(curve["model"], dtype=float), strict=True))


# %% The figure
figure = Figure(figsize=(7.2, 3.4), layout="constrained")
left, right = figure.subplots(1, 2, width_ratios=[1, 1.25])
rows, x = rows_of("positions"), curves["positions"]["x"]
seeds = [row for name, row in rows.items() if name.startswith("seed ")]
left.plot(x, np.array(seeds).T, color="#0072b2", linewidth=0.6, alpha=0.5)
left.plot(x, np.median(seeds, axis=0), color="#0072b2", linewidth=2, label="trained model")
for name, (label, colour, style) in SHOWN.items():
    if name in rows:
        left.plot(x, rows[name], color=colour, linestyle=style, linewidth=1, label=label)
left.set(xlabel="pairs in the context", ylabel="squared error / E y²", ylim=(0, 1.3), xlim=(x[0], x[-1]))
left.legend(frameon=False, fontsize=6.5)

shifts, names = rows_of("shifts"), curves["shifts"]["x"]
places = np.arange(len(names))
for name, (label, colour, _) in SHOWN.items():
    if name in shifts:
        right.plot(np.maximum(shifts[name], 1e-3), places, "o", color=colour, markersize=3, label=label)
right.plot(shifts["model"], places, "D", color="#0072b2", markersize=5, label="trained model")
right.set_xscale("log")
right.set_yticks(places, [name.replace("_", " ") for name in names], fontsize=7)
right.invert_yaxis()
right.set(xlabel="squared error at the query / E y²")
right.grid(axis="y", linewidth=0.4, color="#dddddd")
for axes in (left, right):
    axes.spines[["top", "right"]].set_visible(False)
figure.savefig(target)
print(target)
