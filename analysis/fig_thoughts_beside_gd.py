"""Thought by thought beside gradient descent, for a paper: the error as trained, and under covariance shifts.

    python analysis/fig_thoughts_beside_gd.py outputs/thoughts_are_gd_steps/latest [figure.pdf]

Reads the run folder and trains nothing; run it as a script, or cell by cell with `folder` set by hand.
"""

# %% The run
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import icl

folder = Path(sys.argv[1])
target = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("thoughts_beside_gd.pdf")
run = icl.load(folder)
curves = run.folder.record("comparisons")["curves"]
trained = run.config.model.n_thoughts


# %% Errors after k thoughts: the median member, and the reference; what diverged is nan
def errors(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    curve = curves[name]
    model = np.ma.masked_invalid(np.array(curve["model"], dtype=float))
    return np.array(curve["x"]), np.ma.median(model, axis=0), np.array(curve["reference"], dtype=float)[0]


# %% Left: as trained, median with the middle 80 % of the prompts; right: the medians at other covariances
figure = Figure(figsize=(6.8, 2.6), layout="constrained")
left, right = figure.subplots(1, 2)
thoughts, median, reference = errors("gd/thoughts/median")
left.plot(thoughts, median, color="#0072b2", linewidth=2.5, label="model, median")
left.plot(thoughts, reference, color="black", linewidth=1.0, linestyle="--", label="gradient descent, median")
if "gd/thoughts/lowest_tenth" in curves:
    low, high = (errors(f"gd/thoughts/{name}_tenth")[1] for name in ("lowest", "highest"))
    left.fill_between(thoughts, low, high, color="#0072b2", alpha=0.2, linewidth=0, label="middle 80 % of prompts")
left.plot(thoughts, errors("gd/thoughts/mean")[1], color="#d55e00", linewidth=1.0, label="model, mean")
left.axvline(trained, color="grey", linewidth=0.8, linestyle=":", label=f"trained: {trained} thoughts")

shifts = [name.split("/")[1] for name in curves if name.endswith("/median") and name.split("/")[1] != "thoughts"]
for i, name in enumerate(shifts):
    thoughts, median, reference = errors(f"gd/{name}/median")
    right.plot(thoughts, median, linewidth=2.5, color=f"C{i}", label=f"{name} inputs")
    right.plot(thoughts, reference, color="black", linewidth=1.0, linestyle="--")

# %% Names, and a limit to what diverges
for axes, title in ((left, "as trained"), (right, "shifted inputs, medians (dashed: GD)")):
    axes.set(xlabel="thoughts, k", yscale="log", xlim=(1, thoughts[-1]))
    axes.set_title(title, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=6.5)
left.set_ylabel("½ |ŵₖ − w*|²")
right.set_ylim(top=30)
figure.savefig(target)
print(target)
