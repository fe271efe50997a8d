"""The layers of preconditioned attention, for a paper: step sizes, heat maps of −A_l and B_l, loss after every step.

    python analysis/fig_preconditioned_layers.py outputs/layers_are_preconditioned_steps/<id> [figure.pdf]

Reads the run folder and trains nothing; run it as a script, or cell by cell with `folder` set by hand.
"""

# %% The run: matrices (M, L, D, D) in the basis z = T⁻¹ x in which the inputs are white, and what was measured
import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import icl

folder = Path(sys.argv[1])
target = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("preconditioned_layers.pdf")
run = icl.load(folder)
T = run.task.mixing().numpy()
steps = T.T @ run.model.step_matrices().detach().double().numpy() @ T
inverse = np.linalg.inv(T)
moves = inverse @ run.model.B.detach().double().numpy() @ inverse.T if run.model.x_update else None
curves = run.folder.record("comparisons")["curves"] if run.folder.has("comparisons.json") else {}
n_layers, dim = steps.shape[1:3]

# %% The member shown: the one with the median distance of its matrices to multiples of the identity
scalar = np.trace(steps, axis1=2, axis2=3)[..., None, None] / dim * np.eye(dim)
distance = (np.linalg.norm(steps - scalar, axis=(2, 3)) / np.linalg.norm(steps, axis=(2, 3))).max(1)
member = int(np.argsort(distance)[(len(distance) - 1) // 2])

# %% Heat maps, one column a layer; the row of B has no entry for the last layer, which moves nothing that is read
rows = [("−A", steps[member])] + ([] if moves is None else [("B", moves[member, : n_layers - 1])])
figure = Figure(figsize=(1.4 * n_layers + 0.6, 1.5 * len(rows) + 2.4), layout="constrained")
halves: Any = figure.subfigures(2, 1, height_ratios=[1.5 * len(rows), 2.4])
maps, plots = halves
grid = maps.subplots(len(rows), n_layers, squeeze=False)
for axes_row, (name, matrices) in zip(grid, rows, strict=True):
    for layer, axes in enumerate(axes_row):
        axes.set_axis_off()
        if layer >= len(matrices):
            continue
        size = np.abs(matrices[layer]).max() or 1.0
        axes.imshow(matrices[layer], cmap="RdBu_r", vmin=-size, vmax=size, interpolation="nearest")
        axes.set_title(f"{name}, layer {layer + 1}: ±{size:.2g}", fontsize=7)

# %% Learned against best step sizes, and the loss after every step, where they were measured
labels = {"step_sizes": "layer, sorted", "loss": "step"}
measured = {name: [(key, c) for key, c in curves.items() if key.endswith(f"/{name}")] for name in labels}
shown = [name for name in labels if measured[name]]
for axes, name in zip(plots.subplots(1, max(len(shown), 1), squeeze=False)[0], shown, strict=False):
    found, x_label = measured[name], labels[name]
    for style, (key, curve) in zip(("-", "--", ":"), found, strict=False):
        reference = np.array(curve["reference"][0], dtype=float)
        axes.plot(
            curve["x"], reference, style, color="#000000", linewidth=1.0, label=key.split("/")[0].replace("_", " ")
        )
    first = found[0][1]
    axes.plot(first["x"], np.array(first["model"], dtype=float).T, "o", color="#0072b2", markersize=2.5)
    axes.set_yscale("log" if first["log_y"] else "linear")
    axes.set_ylabel(first["y_label"], fontsize=7)
    axes.legend(frameon=False, fontsize=6)
    axes.set_xlabel(x_label, fontsize=7)
    axes.set_xticks(range(1 if name == "step_sizes" else 0, n_layers + 1))
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
figure.savefig(target)
print(target)
