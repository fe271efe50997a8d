"""Layer profiles of a study of a language model: every metric that has a value a layer, the arms side by side.

    python analysis/fig_language_layers.py outputs/icl_behaves_like_finetuning/latest [figure.pdf]

Thin lines are seeds, thick ones their medians; the black dashed line is a Gaussian direction, where it was measured.
"""

# %% The study
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import icl

folder = Path(sys.argv[1])
target = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("language_layers.pdf")
curves = icl.load(folder).folder.record("comparisons")["curves"]
by_layer = {key: curve for key, curve in curves.items() if curve["x_label"] == "layer"}
metrics = list(dict.fromkeys(curve["y_label"] for curve in by_layer.values()))
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
arms = list(dict.fromkeys(key.split("/")[0] for key in by_layer))

# %% The figure: one panel a metric
figure = Figure(figsize=(3.6 * len(metrics), 3.1), layout="constrained")
for metric, axes in zip(metrics, figure.subplots(1, len(metrics), squeeze=False)[0], strict=True):
    for arm, colour in zip(arms, COLOURS, strict=False):
        for key, curve in by_layer.items():
            if curve["y_label"] != metric or not key.startswith(f"{arm}/"):
                continue
            values = np.array(curve["model"], dtype=float)
            axes.plot(curve["x"], values.T, color=colour, linewidth=0.5, alpha=0.35)
            axes.plot(
                curve["x"], np.nanmedian(values, axis=0), color=colour, linewidth=1.6, label=arm.replace("_", " ")
            )
            for row in curve["reference"][:1]:
                axes.plot(curve["x"], row, color="black", linewidth=0.7, linestyle="--")
    axes.axhline(0, color="black", linewidth=0.5)
    axes.set(xlabel="layer", ylabel=metric)
    axes.spines[["top", "right"]].set_visible(False)
figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=len(arms), frameon=False, fontsize=8)
figure.savefig(target, dpi=150)
print(target)
