"""One picture of the first result: the layer leaves its plateau, its Γ is that of gradient descent, and so is its loss.

    python analysis/fig_one_step.py outputs/one_layer_is_one_gd_step/latest [figure.png]

Reads the run folder and trains nothing.
"""

# %% The run
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import icl

run = icl.load(sys.argv[1])
target = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("one_step.png")
BLUE, ORANGE = "#0072b2", "#d55e00"

# %% What is drawn: losses (K, M), Γ (M, D, D) learned and best, losses on shifted inputs
steps = np.array([row["step"] for row in run.metrics])
loss = np.array([row["loss"] for row in run.metrics], dtype=float)
learned = run.model.preconditioner(run.task.n_context).detach().numpy()[0]
best = run.task.best_preconditioner().numpy()
shifted = run.folder.record("comparisons")["curves"]["gd_optimal/shifted/input_scale"]

# %% The figure
figure = Figure(figsize=(11, 2.9), layout="constrained")
training, left, right, outside = figure.subplots(1, 4, gridspec_kw={"width_ratios": [1.5, 1, 1, 1.5]})
training.semilogx(steps + 1, loss, color=BLUE, linewidth=0.5, alpha=0.4)
training.semilogx(steps + 1, np.median(loss, axis=1), color=BLUE, label=f"median of {loss.shape[1]} seeds")
training.axhline(run.result["theory"]["best_one_step"], color=ORANGE, linestyle="--", label="best GD step, exact")
training.set(xlabel="training step", ylabel="half MSE", title="Training", ylim=(None, 0.56))
scale = max(abs(learned).max(), abs(best).max())
for axes, gamma, title in ((left, learned, "Γ learned, seed 0"), (right, best, "Γ of the best GD step")):
    image = axes.imshow(gamma, cmap="RdBu_r", vmin=-scale, vmax=scale)
    axes.set(title=title, xticks=[], yticks=[], xlabel="coordinate of x")
figure.colorbar(image, ax=[left, right], shrink=0.7)
for row in shifted["model"]:
    outside.semilogy(shifted["x"], row, color=BLUE, linewidth=0.8, alpha=0.6)
outside.plot([], [], color=BLUE, label="trained layer, every seed")
outside.semilogy(shifted["x"], shifted["reference"][0], color=ORANGE, linestyle="--", label="the same GD step")
outside.set(xlabel="input range, over the trained one", ylabel="half MSE", title="Out of distribution")
for axes in (training, outside):
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
figure.savefig(target, dpi=130)
print(target)
