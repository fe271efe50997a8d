"""Loss by class frequency for each optimiser: one panel an optimiser, one line a group of classes, medians over seeds.

    python analysis/fig_class_losses.py outputs/rare_words_starve_gradient_descent/<id> [figure.pdf]

Reads the run folder and trains nothing. The grey line is the uniform guess; above it is worse than nothing.
"""

# %% The run
import math
import sys
from pathlib import Path
from statistics import median

from matplotlib.figure import Figure

import icl

folder = Path(sys.argv[1])
target = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("class_losses.pdf")
run = icl.load(folder)
curves = run.folder.record("comparisons")["curves"]
rules = list(dict.fromkeys(key.split("/")[0] for key in curves if "/classes_" in key))
rules.sort(key=lambda rule: rule != "probes")
own = run.config.train.optimizer

# %% The figure
figure = Figure(figsize=(1 + 2.1 * len(rules), 2.7), layout="constrained")
for axes, rule in zip(figure.subplots(1, len(rules), sharey=True, squeeze=False)[0], rules, strict=True):
    groups = [key for key in curves if key.startswith(f"{rule}/") and "/classes_" in key]
    for i, key in enumerate(groups):
        first, last = key.rsplit("classes_", 1)[1].split("_")
        curve = curves[key]
        share = i / max(1, len(groups) - 1)
        colour = (0.9 - 0.75 * share, 0.35, 0.15 + 0.7 * share)
        loss = [median(row) for row in zip(*curve["model"], strict=True)]
        axes.plot(curve["x"], loss, "o-", ms=2, lw=1.2, color=colour, label=f"{first}–{last}")
    axes.axhline(math.log(run.config.task.dim), color="0.6", lw=0.8)
    axes.set_title(own if rule == "probes" else rule.replace("_", " "), fontsize=8)
    axes.set_xlabel("training step", fontsize=8)
    axes.tick_params(labelsize=7)
figure.axes[0].set_ylabel("cross-entropy (nats)", fontsize=8)
figure.legend(*figure.axes[-1].get_legend_handles_labels(), fontsize=6, frameon=False, title="words by frequency",
              title_fontsize=6, loc="outside right center")  # fmt: skip
figure.savefig(target)
print(target)
