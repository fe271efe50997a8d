"""Similarity of errors between the model and all candidates, and their response to contexts with one eigenvalue.

    python analysis/fig_similarity_matrix.py DIR [fig.pdf]

Right: what share of a label comes back where all eigenvalues of the context are the same, over their size: a filter
s = λ f(λ) laid bare. Every seed is a thin blue line. The data are those of `scripts/lab identify run=DIR`.
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
    "gradient_descent": ("gradient descent", "#009e73", "-"),
    "gradient_descent_on_sum": ("gradient descent on the sum", "#56b4e9", "-"),
    "iterative_newton": ("Newton", "#cc79a7", "-"),
}  # fmt: skip
mpl.rcParams["font.size"] = 8
run = icl.load(sys.argv[1])
target = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("similarity_matrix.pdf")
curves = {key.split("/")[-1]: c for key, c in run.folder.record("comparisons")["curves"].items()}

# %% The figure
figure = Figure(figsize=(7.2, 3.4), layout="constrained")
left, right = figure.subplots(1, 2, width_ratios=[1.2, 1])
matrix = np.array(curves["similarity_of_errors"]["model"], dtype=float)
names = [name.replace("_", " ") for name in curves["similarity_of_errors"]["y"]]
image = left.imshow(matrix, cmap="viridis", vmin=0, vmax=1, interpolation="nearest")
left.set_xticks(range(len(names)), names, fontsize=6, rotation=90)
left.set_yticks(range(len(names)), names, fontsize=6)
figure.colorbar(image, ax=left, label="similarity of errors", shrink=0.6)

curve = curves["response"]
rows, x = dict(zip(curve["y"], np.array(curve["model"], dtype=float), strict=True)), np.array(curve["x"])
seeds = np.array([row for name, row in rows.items() if name.startswith("seed ")])
right.plot(x, seeds.T, color="#0072b2", linewidth=0.6, alpha=0.6)
right.plot(x, np.median(seeds, axis=0), color="#0072b2", linewidth=2, label="trained model")
for name, (label, colour, style) in SHOWN.items():
    if name in rows:
        right.plot(x, rows[name], color=colour, linestyle=style, linewidth=1, label=label)
right.set_xscale("log", base=2)
right.set(xlabel="eigenvalue / its mean in training", ylabel="share of the label that comes back", ylim=(0, 1.3))
right.legend(frameon=False, fontsize=6.5, loc="lower right")
right.spines[["top", "right"]].set_visible(False)
figure.savefig(target)
print(target)
