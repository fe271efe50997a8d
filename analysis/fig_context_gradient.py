"""How often the gradient names the rule that the context leaves out: two surfaces.

    python analysis/fig_context_gradient.py outputs/context_gradient_names_the_rule/<id> [figure.pdf]

Reads the run folder and trains nothing. Mean over seeds; chance is 1/n².
"""

# %% The run
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import icl

folder = Path(sys.argv[1])
target = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("context_gradient.pdf")
curves = icl.load(folder).folder.record("comparisons")["curves"]

# %% A panel a surface
figure = Figure(figsize=(7.0, 2.6), layout="constrained")
for axes, name in zip(figure.subplots(1, 2), ("batch", "books"), strict=True):
    curve = curves[f"probes/gradient/{name}"]
    values = np.array(curve["model"], dtype=float)
    image = axes.imshow(values, vmin=0, vmax=1, cmap="viridis", aspect="auto", origin="lower")
    for (row, column), value in np.ndenumerate(values):
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=7, color="k" if value > 0.6 else "w")
    axes.set_xticks(range(len(curve["x"])), [f"{x:g}" for x in curve["x"]], fontsize=7)
    axes.set_yticks(range(len(curve["y"])), [f"{y:g}" for y in curve["y"]], fontsize=7)
    axes.set_xlabel(curve["x_label"], fontsize=8)
    axes.set_ylabel(curve["y_label"].replace(", ", ",\n"), fontsize=8)
figure.colorbar(image, ax=figure.axes, label="rules named", shrink=0.9)
figure.savefig(target)
print(target)
