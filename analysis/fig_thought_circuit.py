"""The weights of a chain of thought, for a paper: V31 W13 beside −η I, and the whole of V and W.

    python analysis/fig_thought_circuit.py outputs/thoughts_are_gd_steps/latest [figure.pdf]

Reads the run folder and trains nothing; run it as a script, or cell by cell with `folder` set by hand. Rows and columns
are x (D), y (1), w (D), flag (1). V and W are shown scaled to equal norm, which leaves the layer the same.
"""

# %% The run; the first member
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import icl

folder = Path(sys.argv[1])
target = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("thought_circuit.pdf")
run = icl.load(folder)
model = run.model
V, W = (matrix[0].detach().cpu().double().numpy() for matrix in model.matrices())
d, step_size = model.dim, run.config.objective.teacher.step_size

# %% What the theory names
product = V[d + 1 : -1, :d] @ W[:d, d + 1 : -1]
distance = np.linalg.norm(product + step_size * np.eye(d))
balance = np.sqrt(np.linalg.norm(W[:, d + 1 :]) / np.linalg.norm(V))
shown = {
    f"V31 W13   (distance to −η I: {distance:.1e})": product,
    "−η I": -step_size * np.eye(d),
    "V": V * balance,
    "W": W / balance,
}

# %% The figure: one colour scale a pair, white at zero
figure = Figure(figsize=(6.8, 6.2), layout="constrained")
for axes, (title, matrix) in zip(figure.subplots(2, 2).flat, shown.items(), strict=True):
    size = step_size if len(matrix) == d else max(np.abs(shown["V"]).max(), np.abs(shown["W"]).max())
    image = axes.imshow(matrix, cmap="RdBu_r", vmin=-size, vmax=size, interpolation="nearest")
    axes.set_title(title, fontsize=8)
    if len(matrix) > d:
        at, names = [(d - 1) / 2, d, d + (d + 1) / 2, 2 * d + 1], ["x", "y", "w", "flag"]
        axes.set_xticks(at, names, fontsize=7)
        axes.set_yticks(at, names, fontsize=7)
        for edge in (d - 0.5, d + 0.5, 2 * d + 0.5):
            axes.axhline(edge, color="grey", linewidth=0.4)
            axes.axvline(edge, color="grey", linewidth=0.4)
    figure.colorbar(image, ax=axes, shrink=0.8)
figure.savefig(target)
print(target)
