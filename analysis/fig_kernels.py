"""Training losses of two attention kernels, every seed a line, at equal rates and at each one's best.

python analysis/fig_kernels.py outputs/kernels_differ_in_speed_not_in_success/latest figure.pdf
"""

# %% The run
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import icl

folder, target = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "kernels.pdf"
curves = icl.load(folder).folder.record("comparisons")["curves"]
races = {key.split("/")[0]: curve for key, curve in curves.items() if key.endswith("/race/loss")}

# %% The figure
figure = Figure(figsize=(3.4 * len(races), 2.9), layout="constrained")
for (name, curve), axes in zip(
    races.items(), figure.subplots(1, len(races), squeeze=False, sharey=True)[0], strict=True
):
    for side, label, colour in (("reference", "softmax", "#e69f00"), ("model", "Gaussian", "#0072b2")):
        loss = np.maximum(np.array(curve[side], dtype=float), 1e-20)
        axes.plot(curve["x"], loss.T, color=colour, linewidth=0.5, alpha=0.5)
        axes.plot(curve["x"], np.median(loss, axis=0), color=colour, linewidth=2, label=f"{label}, median")
    axes.axhline(1e-6, color="black", linewidth=0.8, linestyle="--")
    axes.set(xscale="symlog", yscale="log", xlabel="training step", ylim=(1e-20, None), xlim=(0, None))
    axes.set_title("equal rates" if name == "softmax" else "softmax at its best rate", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
figure.axes[0].set_ylabel("training loss, ½ mean (f − y)²")
figure.axes[0].legend(frameon=False, fontsize=7, loc="lower left")
figure.savefig(Path(target))
print(target)
