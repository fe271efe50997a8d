"""What a linear read-out finds in every layer: R² over layers, trained and untrained.

    python analysis/fig_probe_accuracy.py DIR [figure.pdf]

DIR is a run with the probe `linear_readout`: `scripts/lab probe run=DIR +probe@probes.readout=linear_readout`.
"""

# %% The run
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

import icl

TARGETS = {"weights": "w of least squares", "moment": "Xᵀy / N", "second_moments": "XᵀX / N"}
mpl.rcParams["font.size"] = 8
run = icl.load(sys.argv[1])
target = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("probe_accuracy.pdf")
found = run.folder.record("comparisons")["curves"]
probe = next(key.rsplit("/", 1)[0] for key in found if key.endswith("/second_moments"))

# %% The figure
figure = Figure(figsize=(7.2, 2.4), layout="constrained")
for axes, (name, label) in zip(figure.subplots(1, 3, sharey=True), TARGETS.items(), strict=True):
    curve = found[f"{probe}/{name}"]
    for rows, colour, who in ((curve["model"], "#0072b2", "trained"), (curve["reference"], "grey", "first values")):
        values = np.array(rows, dtype=float)
        axes.plot(curve["x"], values.T, color=colour, linewidth=0.6, alpha=0.5)
        axes.plot(
            curve["x"], np.median(values, axis=0), color=colour, linewidth=1.8, marker="o", markersize=3, label=who
        )
    axes.set(xlabel="layer (0: embedding)", title=label, ylim=(-0.05, 1), xticks=curve["x"])
    axes.spines[["top", "right"]].set_visible(False)
figure.axes[0].set_ylabel("R² on other prompts")
figure.axes[0].legend(frameon=False, fontsize=7)
figure.savefig(target)
print(target)
