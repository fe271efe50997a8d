"""Where a looped layer rotates: the phase diagram over examples a dimension and loops, and the case of two dimensions.

    python analysis/fig_rotation_phase.py outputs/rotations_begin_where_the_scalar_is_a_saddle/<id> [figure.pdf]

Colour is the exact curvature of the loss at the best scalar along rotations (red: a saddle, the layer rotates); the
numbers are what the best rotation gains over the best scalar in %, fitted and judged on sampled covariances, "·"
where its t is below 3. Below: d = 2, the gain and the angle over n against their exact limits. Reads the record.
"""

# %% The record
import sys
from pathlib import Path

import numpy as np
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure

import icl

folder = Path(sys.argv[1])
target = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("rotation_phase.pdf")
curves = icl.load(folder).folder.record("comparisons")["curves"]
phase = {key.rsplit("/", 1)[1]: curve for key, curve in curves.items() if curve["kind"] == "map"}
dims = sorted(int(name.removeprefix("curvature_d")) for name in phase if name.startswith("curvature_d"))
SEEN = 3.0

# %% The phase diagram, one panel a dimension
figure = Figure(figsize=(2.3 * len(dims) + 0.6, 4.6), layout="constrained")
above, below = figure.subfigures(2, 1, height_ratios=(1.15, 1))
panels = above.subplots(1, len(dims), sharey=True, squeeze=False)[0]
largest = max(np.abs(phase[f"curvature_d{d}"]["model"]).max() for d in dims)
norm = SymLogNorm(linthresh=0.1, vmin=-largest, vmax=largest)
image = None
for axes, d in zip(panels, dims, strict=True):
    bent = phase[f"curvature_d{d}"]
    image = axes.imshow(bent["model"], origin="lower", aspect="auto", cmap="RdBu", norm=norm)
    axes.set_xticks(range(len(bent["x"])), [f"{x:g}" for x in bent["x"]])
    axes.set_yticks(range(len(bent["y"])), [f"{y:g}" for y in bent["y"]])
    axes.set(title=f"d = {d}", xlabel="examples a dimension, n/d")
    gains, ts = (phase.get(f"{name}_d{d}", {}).get("model", []) for name in ("gain", "t"))
    for row, (gain_row, t_row) in enumerate(zip(gains, ts, strict=True)):
        for column, (gain, t) in enumerate(zip(gain_row, t_row, strict=True)):
            text = f"{100 * gain:.2g}" if t > SEEN else "·"
            dark = abs(norm(bent["model"][row][column]) - 0.5) > 0.35
            ink = "white" if dark else "black"
            axes.text(column, row, text, ha="center", va="center", fontsize=6.5, color=ink)
    axes.tick_params(labelsize=7)
panels[0].set_ylabel("loops, L")
above.colorbar(image, ax=panels, label="curvature along rotations / loss")

# %% Two dimensions: towards the limit of many examples
left, right = below.subplots(1, 2)
for axes, name, label in ((left, "planar_gain", "share of the loss gained"), (right, "planar_angle", "angle, ω √n")):
    found = phase[name]
    for n_loops, row, limit, colour in zip(
        found["y"], found["model"], found["reference"], ("#0072b2", "#d55e00", "#009e73", "#cc79a7"), strict=False
    ):
        axes.plot(found["x"], row, "o-", markersize=3, linewidth=1, color=colour, label=f"L = {n_loops}")
        axes.axhline(limit[0], color=colour, linewidth=0.8, linestyle="--")
    axes.set(xscale="log", xlabel="examples, n", ylabel=label, ylim=(min(0.0, axes.get_ylim()[0]), None))
    axes.spines[["top", "right"]].set_visible(False)
left.set_title("d = 2: the best rotation (dashed: n → ∞, exact)", fontsize=8, loc="left")
left.legend(frameon=False, fontsize=7)
figure.savefig(target)
print(target)
