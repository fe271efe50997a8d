"""Accuracy over the number of demonstrations, calibrated and raw, and what the raw predictions collapse to.

python analysis/fig_demonstrations.py outputs/icl_gains_on_word_sentiment/latest [figure.pdf]
"""

# %% The study
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import icl

folder = Path(sys.argv[1])
target = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("demonstrations.pdf")
curves = icl.load(folder).folder.record("comparisons")["curves"]
curve = next(c for k, c in curves.items() if k.endswith("/accuracy_by_demonstrations"))
histogram = next(c for k, c in curves.items() if k.endswith("/histogram"))

# %% The figure
figure = Figure(figsize=(6.6, 2.8), layout="constrained")
axes, shares = figure.subplots(1, 2)
for name, side, colour in (("calibrated", "model", "#0072b2"), ("raw", "reference", "#d55e00")):
    values = np.array(curve[side], dtype=float)
    axes.plot(curve["x"], values.T, color=colour, linewidth=0.5, alpha=0.4)
    axes.plot(curve["x"], np.median(values, axis=0), "o-", color=colour, markersize=3, label=name)
axes.set(xlabel="demonstrations in the context", ylabel="accuracy", xticks=curve["x"])
axes.legend(frameon=False, fontsize=7, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1))
rows = np.array(histogram["model"], dtype=float)
left = np.zeros(len(rows))
for label, column in zip(histogram["x"], rows.T, strict=True):
    shares.barh(range(len(rows)), column, left=left, label=label, height=0.6)
    left = left + column
shares.set_yticks(range(len(rows)), histogram["y"], fontsize=8)
shares.invert_yaxis()
shares.set(xlabel="share of queries, mean over seeds")
shares.legend(frameon=False, fontsize=7, ncols=len(histogram["x"]), loc="lower center", bbox_to_anchor=(0.5, 1))
for panel in (axes, shares):
    panel.spines[["top", "right"]].set_visible(False)
figure.savefig(target, dpi=150)
print(target)
