"""A looped layer that goes on: mean and median error over loops, far beyond the trained depth.

    python analysis/fig_looping_beyond_training.py outputs/looping_extrapolates/<id> [another run ...] figure.pdf

One column a run. The mean over tasks turns up when the unstable ones take it over, whose share is written beside it;
the median goes on falling. Every seed is a thin line, gradient descent with the best step is dashed.
"""

# %% The runs
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import icl

*folders, target = sys.argv[1:] if len(sys.argv) > 2 else [*sys.argv[1:], "looping_beyond_training.pdf"]
runs = [icl.load(folder) for folder in folders]

# %% The figure
figure = Figure(figsize=(3.3 * len(runs), 2.8), layout="constrained")
for run, axes in zip(runs, figure.subplots(1, len(runs), squeeze=False)[0], strict=True):
    record = run.folder.record("comparisons")
    trained = run.model.n_layers
    for name, colour in (("mean", "#d55e00"), ("median", "#0072b2")):
        key, curve = next((k, c) for k, c in record["curves"].items() if k.endswith(f"/{name}"))
        model, reference = (np.array(curve[side], dtype=float) for side in ("model", "reference"))
        axes.plot(curve["x"], model.T, color=colour, linewidth=0.5, alpha=0.4)
        axes.plot(curve["x"], np.median(model, axis=0), color=colour, linewidth=1.5, label=f"{name} over tasks")
        label = "gradient descent" if name == "median" else None
        axes.plot(curve["x"], reference.T, color="black", linewidth=0.8, linestyle="--", label=label)
    numbers = record["numbers"]
    share = max(next(v for k, v in numbers.items() if k.endswith("/unstable_share")))
    axes.axvline(trained, color="black", linewidth=0.6)
    axes.annotate(f"trained: {trained}", (trained, 1), (3, -8), xycoords=("data", "axes fraction"),
                  textcoords="offset points", fontsize=7)  # fmt: skip
    axes.set(yscale="log", xlabel="loops", ylabel="squared error", title=f"{100 * share:.2g} % of tasks are unstable")
    axes.title.set_fontsize(8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=7)
figure.savefig(Path(target))
print(target)
