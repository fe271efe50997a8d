"""Sharpness over training against 2/lr, at the iterates and in the middle of their swing.

    python analysis/fig_edge_of_stability.py outputs/progressive_sharpening_reaches_the_edge/latest figure.pdf

One column a run: the experiment's own rate, then those beside it that its record knows. Every seed is a line.
"""

# %% The run
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import icl

folder, target = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "edge_of_stability.pdf"
curves = icl.load(folder).folder.record("comparisons")["curves"]
columns = sorted({key.rsplit("/", 1)[0] for key in curves if key.endswith("/sharpness")}, reverse=True)

# %% The figure
figure = Figure(figsize=(3.4 * len(columns), 2.9), layout="constrained")
for at, axes in zip(columns, figure.subplots(1, len(columns), squeeze=False, sharey=True)[0], strict=True):
    edge = np.array(curves[f"{at}/sharpness"]["reference"][0], dtype=float)
    steps = curves[f"{at}/sharpness"]["x"]
    for name, label, colour in (("sharpness", "at the iterates", "#e69f00"), ("centre", "in the middle", "#0072b2")):
        sharpness = np.array(curves[f"{at}/{name}"]["model"], dtype=float)
        axes.plot(steps, sharpness.T, color=colour, linewidth=1.1, alpha=0.8)
        axes.plot([], [], color=colour, label=label)
    axes.plot(steps, edge, color="black", linewidth=1, linestyle="--", label="2 / lr")
    axes.set(yscale="log", xlabel="training step", title=f"lr = {2 / edge[-1]:.3g}")
    axes.title.set_fontsize(9)
    axes.spines[["top", "right"]].set_visible(False)
figure.axes[0].set_ylabel("largest eigenvalue of the Hessian")
figure.axes[0].legend(frameon=False, fontsize=7)
figure.savefig(Path(target))
print(target)
