"""What attention with momentum gains over plain attention and over the previous-token control, seed by seed.

    python analysis/fig_momentum_attention.py outputs/momentum_attention_is_a_shift*/latest figure.pdf

One column a run (a form of the tokens and a budget). A gain counts where it is positive against both.
"""

# %% The runs
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import icl

*folders, target = sys.argv[1:] if len(sys.argv) > 2 else [*sys.argv[1:], "momentum_attention.pdf"]
runs = [icl.load(folder) for folder in folders]

# %% The figure
figure = Figure(figsize=(1.9 * len(runs) + 0.8, 2.9), layout="constrained")
for run, axes in zip(runs, figure.subplots(1, len(runs), squeeze=False, sharey=True)[0], strict=True):
    numbers = run.folder.record("comparisons")["numbers"]
    for place, (control, colour) in enumerate((("plain", "#0072b2"), ("shift", "#d55e00"))):
        gain = 100 * np.array(numbers[f"{control}/paired/gain"], dtype=float)
        axes.plot(place + np.linspace(-0.12, 0.12, len(gain)), gain, "o", color=colour, markersize=4, alpha=0.7)
        axes.plot([place - 0.25, place + 0.25], [gain.mean()] * 2, color=colour, linewidth=2)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks([0, 1], ["plain\nattention", "previous\ntoken"], fontsize=8)
    axes.set(xlim=(-0.5, 1.5))
    axes.set_title(f"{run.config.model.tokens}, {run.config.train.steps} steps", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
figure.axes[0].set_ylabel("gain of momentum over .., %")
figure.savefig(Path(target))
print(target)
