"""Layers applied beyond their training: a looped transformer beside an untied stack, and the error at every position.

    python analysis/fig_looped_transformer.py outputs/looped_transformer_holds_beyond_training/latest \
        outputs/untied_stack_does_not_loop/latest [figure.pdf]

Left: error at the query over passes, in units of the trained depth. Right: error over context length as trained, with
least squares. Every seed is a thin line, the median a thick one.
"""

# %% The runs
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import icl

folders = [folder for folder in sys.argv[1:] if not folder.endswith((".pdf", ".svg", ".png"))]
target = Path(sys.argv[-1]) if len(sys.argv) > len(folders) + 1 else Path("looped_transformer.pdf")
runs = [icl.load(folder) for folder in folders]
BEYOND = 4  # the comparison goes to four times the trained depth

# %% The figure
figure = Figure(figsize=(6.8, 2.8), layout="constrained")
left, right = figure.subplots(1, 2)
for colour, run in zip(("#0072b2", "#d55e00"), runs, strict=False):
    curves = run.folder.record("comparisons")["curves"]
    label = run.config.name.replace("_", " ")
    for axes, name in ((left, "passes"), (right, "positions")):
        curve = next(c for key, c in curves.items() if key.endswith(f"/{name}"))
        x, model = np.array(curve["x"]), np.array(curve["model"], dtype=float)
        x = BEYOND * x / len(x) if name == "passes" else x
        axes.plot(x, model.T, color=colour, linewidth=0.5, alpha=0.4)
        axes.plot(
            x, np.median(model, axis=0), color=colour, linewidth=1.5, marker="." * (len(x) <= BEYOND), label=label
        )
        if name == "positions" and run is runs[-1]:
            axes.plot(x, np.array(curve["reference"])[0], color="black", linewidth=0.8, linestyle="--",
                      label="least squares")  # fmt: skip
left.axvline(1, color="grey", linewidth=0.8, linestyle=":", label="as trained")
left.set(xlabel="passes / trained passes", ylabel="squared error at query / D", ylim=(0, 1.1))
right.set(xlabel="pairs in the context", ylabel="squared error / D", ylim=(0, 1.1))
lines = {}
for axes in (left, right):
    axes.spines[["top", "right"]].set_visible(False)
    lines |= {line.get_label(): line for line in axes.get_legend_handles_labels()[0]}
figure.legend(lines.values(), lines.keys(), loc="outside upper center", ncols=len(lines), frameon=False, fontsize=6.5)
figure.savefig(target)
print(target)
