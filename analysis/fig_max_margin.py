"""Towards the max-margin direction: 1 − cosine to the attention SVM over the size of the weights, a line a seed.

    python analysis/fig_max_margin.py outputs/attention_is_a_max_margin_classifier/<id> [figure.pdf]

Reads the run folder and trains nothing. The size is the norm or the smallest margin, as the experiment measures it.
"""

# %% The run
import sys
from pathlib import Path

from matplotlib.figure import Figure

import icl

folder = Path(sys.argv[1])
target = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("max_margin.pdf")
curves = icl.load(folder).folder.record("comparisons")["curves"]
probe = max(key for key in curves if key.startswith("probes/") and key.endswith("/cosine")).rsplit("/", 1)[0]
cosine, size = curves[f"{probe}/cosine"], curves[f"{probe}/size"]

# %% The figure
figure = Figure(figsize=(4.2, 3.0), layout="constrained")
axes = figure.subplots()
for m, (sizes, row) in enumerate(zip(size["model"], cosine["model"], strict=True)):
    known = [(s, 1 - c) for s, c in zip(sizes, row, strict=True) if s is not None and c is not None and s > 0 and c < 1]
    axes.plot([s for s, _ in known], [c for _, c in known], lw=1, label=f"seed {m}")
axes.set_xscale("log")
axes.set_yscale("log")
axes.set_xlabel(f"{size['y_label']} of the weights", fontsize=8)
axes.set_ylabel("1 − cosine to the SVM", fontsize=8)
axes.tick_params(labelsize=7)
axes.legend(fontsize=6, frameon=False, ncols=2)
figure.savefig(target)
print(target)
