"""Attention against the causal graph: how it found the parents, and where every position looks at the end.

    python analysis/fig_causal_graph.py outputs/attention_recovers_the_causal_graph/<id> [figure.pdf]

Reads the run folder and trains nothing. Left: attention of layer 1 on the parent, a line a seed. Right: attention at
the end of up to four members, a row a position that looks; circles are the parents, the last row is the query.
"""

# %% The run
import sys
from pathlib import Path

from matplotlib.figure import Figure

import icl

folder = Path(sys.argv[1])
target = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("causal_graph.pdf")
curves = icl.load(folder).folder.record("comparisons")["curves"]
probe = next(key for key in curves if key.startswith("probes/") and key.endswith("/parent_attention")).rsplit("/", 1)[0]
rise = curves[f"{probe}/parent_attention"]
maps = [curves[key] for key in sorted(curves) if key.startswith(f"{probe}/attention_")][:4]

# %% The figure
figure = Figure(figsize=(3.0 + 2.3 * len(maps), 2.6), layout="constrained")
axes = figure.subplots(1, 1 + len(maps), width_ratios=[1.35] + [1] * len(maps))
for m, row in enumerate(rise["model"]):
    axes[0].plot([s for s in rise["x"] if s > 0], row[-sum(s > 0 for s in rise["x"]) :], lw=1, label=f"seed {m}")
axes[0].set_xscale("log")
axes[0].set_ylim(0, 1)
axes[0].set_xlabel(rise["x_label"], fontsize=8)
axes[0].set_ylabel(rise["y_label"], fontsize=8)
axes[0].legend(fontsize=6, frameon=False, ncols=2)
for at, drawn in zip(axes[1:], maps, strict=True):
    image = at.imshow(drawn["model"], cmap="Blues", vmin=0, vmax=1)
    parents = [(k, r) for r, row in enumerate(drawn["reference"]) for k, is_parent in enumerate(row) if is_parent]
    at.plot([k for k, _ in parents], [r for _, r in parents], "o", mfc="none", mec="#d95f02", ms=7)
    at.set_title(drawn["title"], fontsize=8)
    at.set_xlabel(drawn["x_label"], fontsize=7)
    at.set_ylabel(drawn["y_label"] if at is axes[1] else "", fontsize=7)
for at in axes:
    at.tick_params(labelsize=7)
if maps:
    figure.colorbar(image, ax=list(axes[1:]), shrink=0.8, label="attention")
figure.savefig(target)
print(target)
