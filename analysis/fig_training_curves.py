"""Training curves of one run, for a paper: every seed, their median, and the exact values of the task.

    python analysis/fig_training_curves.py outputs/one_layer_is_one_gd_step/<id> [figure.pdf]

Reads the run folder and trains nothing; run it as a script, or cell by cell with `folder` set by hand.
"""

# %% The run
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import icl

folder = Path(sys.argv[1])
target = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("training_curves.pdf")
run = icl.load(folder)

# %% Loss (K, M) at K logged steps of M seeds; a diverged seed is nan from there on
steps = np.array([row["step"] for row in run.metrics])
loss = np.array([row["loss"] for row in run.metrics], dtype=float)
result = run.result if run.folder.has("result.json") else {}

# %% The figure: 3.3 inches is one column of most proceedings
figure = Figure(figsize=(3.3, 2.3), layout="constrained")
axes = figure.subplots()
axes.plot(steps, loss, color="#0072b2", linewidth=0.5, alpha=0.35)
axes.plot(steps, np.ma.median(np.ma.masked_invalid(loss), axis=1), color="#0072b2", label="median over seeds")
for style, (name, value) in zip(("--", ":", "-."), result.get("theory", {}).items(), strict=False):
    axes.axhline(value, color="black", linewidth=0.8, linestyle=style, label=name.replace("_", " "))
axes.set(xlabel="training step", ylabel=result.get("loss_name", "loss").replace("_", " "), xlim=(0, steps[-1]))
axes.spines[["top", "right"]].set_visible(False)
axes.legend(frameon=False, fontsize=7)
figure.savefig(target)
print(target)
