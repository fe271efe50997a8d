"""What a looped layer learned: the eigenvalues of its matrix in the complex plane, and who gains from the rotation.

    python analysis/fig_rotation_eigenvalues.py outputs/looping_prefers_a_rotation/<id> [another run ...] figure.pdf

One column a run. Above: the eigenvalues of A, in coordinates in which the inputs are white, of every seed, and how
they grew over the training. Below: the loss of a task, given its inputs, at quantiles over tasks, as a share of that
of the best scalar: the median task gains too, not only the rare ones that carry the mean.
"""

# %% The runs
import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

import icl

*folders, target = sys.argv[1:] if len(sys.argv) > 2 else [*sys.argv[1:], "rotation_eigenvalues.pdf"]
runs = [icl.load(folder) for folder in folders]


def white(run, model) -> np.ndarray:
    """Eigenvalues (M, D) of A = Tᵀ ηᵀ T, x = T z."""
    T = run.task.mixing()
    A = T.mT @ model.step_matrices()[:, 0].detach().double().mT @ T
    return torch.linalg.eigvals(A).numpy()


# %% The figure
figure = Figure(figsize=(3.0 * len(runs), 4.8), layout="constrained")
above, below = figure.subplots(2, len(runs), squeeze=False)
for run, plane, axes in zip(runs, above, below, strict=True):
    path = [(step, white(run, model)) for step, model in run.snapshots()]
    for step, values in path:
        share = np.log1p(step) / max(np.log1p(path[-1][0]), 1.0)
        plane.plot(
            values.real.ravel(), values.imag.ravel(), ".", color="#999999", alpha=0.1 + 0.4 * share, markersize=3
        )
    plane.plot([], [], ".", color="#999999", markersize=3, label="on the way")
    final = white(run, run.model)
    plane.plot(final.real.ravel(), final.imag.ravel(), "o", color="#d55e00", markersize=3, label="trained, every seed")
    plane.axhline(0, color="black", linewidth=0.5)
    task, n_loops = run.task, run.model.n_layers
    plane.set(title=f"d = {task.dim}, n = {task.n_context}, L = {n_loops}", xlabel="Re λ(A)", ylabel="Im λ(A)")
    plane.set_aspect("equal", adjustable="datalim")
    curves = run.folder.record("comparisons")["curves"]
    quantiles = next(curve for key, curve in curves.items() if key.endswith("/quantiles"))
    ratio = np.array(quantiles["model"], dtype=float) / np.array(quantiles["reference"], dtype=float)
    axes.plot(range(ratio.shape[1]), ratio.T, color="#0072b2", linewidth=0.6, alpha=0.6)
    axes.axhline(1, color="black", linewidth=0.8, linestyle="--")
    axes.set_xticks(range(ratio.shape[1]), [f"{q:g}" for q in quantiles["x"]], rotation=45)
    axes.set(xlabel="quantile over tasks", ylabel="loss over that of the best scalar", ylim=(0, None))
    for one in (plane, axes):
        one.spines[["top", "right"]].set_visible(False)
        one.tick_params(labelsize=7)
above[0].legend(frameon=False, fontsize=7)
figure.savefig(Path(target))
print(target)
