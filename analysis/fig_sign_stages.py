"""The four stages of sign descent on two patches, beside Adam and gradient descent, at the larger noise.

    python analysis/fig_sign_stages.py outputs/sign_descent_memorises_noise/<id> [figure.pdf]

Reads the run folder and trains nothing. A line is the median over seeds, the band their range. III has two lines:
attention to the signal from the noise patch (solid), which goes first, and from the signal patch (dashed).
"""

# %% The run
import sys
from pathlib import Path
from statistics import median

from matplotlib.figure import Figure

import icl

RULES = {"strong_sign": ("sign descent", "#d95f02"), "strong_adam": ("Adam", "#7570b3"), "strong_gd": ("GD", "#1b9e77")}
PANELS = ("head", "noise_alignment", ("noise_query", "signal_query"), "signal_alignment")
folder = Path(sys.argv[1])
target = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("sign_stages.pdf")
curves = icl.load(folder).folder.record("comparisons")["curves"]

# %% The figure
figure = Figure(figsize=(11, 2.7), layout="constrained")
for axes, panel in zip(figure.subplots(1, 4), PANELS, strict=True):
    for rule, (name, colour) in RULES.items():
        for style, measure in zip(("-", "--"), panel if isinstance(panel, tuple) else (panel,), strict=False):
            curve = curves[f"{rule}/stages/{measure}"]
            rows = list(zip(*curve["model"], strict=True))
            label = name if style == "-" else None
            axes.plot(curve["x"], [median(row) for row in rows], style, color=colour, lw=1.2, label=label)
            axes.fill_between(curve["x"], list(map(min, rows)), list(map(max, rows)), color=colour, alpha=0.15, lw=0)
    axes.set_xscale("log")
    if panel == "head":
        axes.set_yscale("symlog", linthresh=0.1)
        axes.set_ylim(bottom=0)
    axes.set_title(curve["title"].replace("from the signal to the signal", "attention to the signal"), fontsize=8)
    axes.set_xlabel(curve["x_label"], fontsize=8)
    axes.set_ylabel(curve["y_label"], fontsize=8)
    axes.tick_params(labelsize=7)
figure.axes[0].legend(fontsize=7, frameon=False)
figure.savefig(target)
print(target)
