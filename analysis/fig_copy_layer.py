"""How a copy layer comes about, for a paper: what the first layer's tokens react to, over training, above the loss.

    python analysis/fig_copy_layer.py outputs/the_copy_layer_is_an_induction_head/<id> [figure.pdf]

Reads the snapshots of the run and trains nothing. Sensitivities are those of icl/comparisons/copy_sensitivities.py: the
norm of the mean gradient of the first layer's output at token j by token k, averaged over j. Thin lines are seeds.
"""

# %% The run
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import icl

folder = Path(sys.argv[1])
target = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("copy_layer.pdf")
run = icl.load(folder)
prompt = run.sample(500).prompt

# %% Sensitivities (K, M) at K snapshots of M seeds
COLOURS = {"next token": "#0072b2", "previous token": "#d55e00", "all others": "#999999"}
steps: list[int] = []
found: dict[str, list[np.ndarray]] = {name: [] for name in COLOURS}
for step, bank in run.snapshots():
    J = bank.influence(prompt).cpu().double().numpy()
    place = np.arange(J.shape[-1])
    distance = place - place[:, None]
    steps.append(step)
    for name, at in zip(COLOURS, (distance == 1, distance == -1, np.abs(distance) > 1), strict=True):
        found[name].append(J[:, at].mean(1))

# %% Loss, every point the mean of a fiftieth of the training
rows = [row for row in run.metrics if all(value is not None for value in row["loss"])]
parts = [part for part in np.array_split(np.arange(len(rows)), 50) if part.size]
middle = [np.mean([rows[i]["step"] for i in part]) for part in parts]
loss = np.array([np.mean([rows[i]["loss"] for i in part], axis=0) for part in parts])
known = run.result.get("theory", {}).get("best_one_step")

# %% The figure
figure = Figure(figsize=(3.3, 3.6), layout="constrained")
above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
for name, values in found.items():
    above.plot(steps, np.array(values), color=COLOURS[name], linewidth=0.5, alpha=0.5)
    above.plot(steps, np.median(values, axis=1), color=COLOURS[name], linewidth=1.5, label=f"{name}, median")
above.set(ylabel="sensitivity of layer 1", xscale="symlog", xlim=(0, steps[-1]))
above.legend(frameon=False, fontsize=7)
below.plot(middle, loss, color="black", linewidth=0.5, alpha=0.5)
below.plot(middle, np.median(loss, axis=1), color="black", linewidth=1.2)
if known is not None:
    below.axhline(known, color="black", linewidth=0.8, linestyle="--", label="one GD step")
    below.legend(frameon=False, fontsize=7)
below.set(xlabel="training step", ylabel=run.result["loss_name"].replace("_", " "), ylim=(0, None))
for axes in (above, below):
    axes.spines[["top", "right"]].set_visible(False)
figure.savefig(target)
print(target)
