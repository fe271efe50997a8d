"""A looped layer that may move its inputs, over its training: it turns, learns to move them, and turns back.

    python analysis/fig_rotation_on_the_way.py outputs/looped_attention_does_not_keep_the_rotation/<id> [figure.pdf]

Above: the largest imaginary part of an eigenvalue of the first step's matrix, and its mean diagonal, at every snapshot
(icl/probes/first_step.py). Below: the training loss beside the best that a layer without x-update reaches by rotating.
Thin lines are seeds, thick ones medians.
"""

# %% The run
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import icl

folder = Path(sys.argv[1])
target = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("rotation_on_the_way.pdf")
run = icl.load(folder)
found = run.folder.record("comparisons")
path = found["curves"]["probes/first_step/path"]
steps = np.array(path["x"])
best = 2 * np.median(found["numbers"]["rotated/loss/reference_half_mse"])  # the loss is an mse

# %% The loss, every point the median of the logged steps between two points in equal ratios
rows = run.metrics
at = np.array([row["step"] for row in rows]) + 1
loss = np.array([row["loss"] for row in rows], dtype=float)
edges = np.unique(np.geomspace(1, at[-1] + 1, 60).round())
parts = [part for low, high in pairwise(edges) if (part := np.flatnonzero((at >= low) & (at < high))).size]
middle = [at[part].mean() for part in parts]
smooth = np.array([np.median(loss[part], axis=0) for part in parts])

# %% The figure
figure = Figure(figsize=(3.5, 4.2), layout="constrained")
above, below = figure.subplots(2, 1, sharex=True)
for values, colour, label in (
    (np.array(path["reference"], dtype=float), "#999999", "step size, tr A / D"),
    (np.array(path["model"], dtype=float), "#d55e00", "angle, largest Im λ(A)"),
):
    above.plot(steps + 1, values.T, color=colour, linewidth=0.5, alpha=0.6)
    above.plot(steps + 1, np.median(values, axis=0), color=colour, linewidth=1.6, label=label)
above.set(ylabel="first step", xscale="log")
above.legend(frameon=False, fontsize=7)
below.plot(middle, smooth, color="#0072b2", linewidth=0.5, alpha=0.6)
below.plot(middle, np.median(smooth, axis=1), color="#0072b2", linewidth=1.6, label="inputs may move")
below.axhline(best, color="black", linewidth=0.8, linestyle="--", label="best rotation, inputs fixed")
below.set(xlabel="training step + 1", ylabel=run.result["loss_name"].replace("_", " "), yscale="log")
below.legend(frameon=False, fontsize=7)
for axes in (above, below):
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=7)
figure.savefig(target)
print(target)
