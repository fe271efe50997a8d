"""Accuracy without context through training: the run of an experiment, and every training beside it.

    python analysis/fig_context_sample_efficiency.py outputs/context_sample_efficiency/<id> [figure.pdf]
    python analysis/fig_context_sample_efficiency.py outputs/context_small_llama/<id> [figure.pdf]

Reads the run folder and trains nothing. Thin lines are seeds, thick ones their mean; dotted: chance, 1/n².
"""

# %% The run
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import icl

folder = Path(sys.argv[1])
target = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("context_accuracy.pdf")
run = icl.load(folder)
curves = run.folder.record("comparisons")["curves"]
chance = run.config.task.n_letters**-2
found = {key.split("/")[0]: curve for key, curve in curves.items() if key.endswith("/translation/without")}
names = {"probes": "annealed"} | {name: name.replace("_", " ") for name in found if name != "probes"}

# %% One line a training
figure = Figure(figsize=(4.2, 3.0), layout="constrained")
axes = figure.subplots()
for i, (name, curve) in enumerate(sorted(found.items(), key=lambda item: item[0] != "probes")):
    x, rows = np.array(curve["x"]), np.array(curve["model"], dtype=float)
    axes.plot(x, rows.T, color=f"C{i}", linewidth=0.5, alpha=0.5)
    axes.plot(x, rows.mean(0), color=f"C{i}", linewidth=2, label=names[name])
axes.axhline(chance, color="0.5", linestyle=":", linewidth=1, label="chance")
axes.set_ylim(-0.02, 1.02)
axes.set_xlabel("training step")
axes.set_ylabel("pairs right without context")
pool = run.config.task.pool
axes.set_title(f"{'fresh strings' if pool is None else f'{pool} strings'}, {len(rows)} seeds", fontsize=9)
axes.legend(fontsize=7, frameon=False)
figure.savefig(target)
print(target)
