"""Order sensitivity of in-context learning beside descent: the curve over learning rates, and bars.

    python analysis/fig_order_sensitivity.py outputs/order_sensitivity_depends_on_the_learning_rate/latest [figure.pdf]

Left: descent at every learning rate of its grid (thin: seeds, thick: median), and in-context learning dashed, which has
none. Right: in-context learning, descent at the least and the largest rate, and full-batch descent; bars are medians
over seeds, dots are seeds.
"""

# %% The study
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import icl

folder = Path(sys.argv[1])
target = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("order_sensitivity.pdf")
record = icl.load(folder).folder.record("comparisons")
curve = next(c for k, c in record["curves"].items() if k.endswith("/sensitivity_by_learning_rate"))
number = {key: np.array(values, dtype=float) for key, values in record["numbers"].items()}
arms = list(dict.fromkeys(key.split("/")[0] for key in number if key.endswith("/order/icl")))

# %% The curve
figure = Figure(figsize=(7.2, 3.0), layout="constrained")
axes, bars = figure.subplots(1, 2, width_ratios=(3, 2))
rates, descent, in_context = (np.array(curve[name], dtype=float) for name in ("x", "model", "reference"))
axes.plot(rates, descent.T, color="#d55e00", linewidth=0.6, alpha=0.5)
axes.plot(rates, np.nanmedian(descent, axis=0), color="#d55e00", linewidth=1.6, label="one demonstration a step")
axes.plot(rates, in_context.T, color="#0072b2", linewidth=0.6, alpha=0.5, linestyle="--")
axes.plot(rates, np.median(in_context, axis=0), color="#0072b2", linewidth=1.6, linestyle="--", label="in context")
axes.set(xscale="log", yscale="log", xlabel="learning rate", ylabel="order sensitivity, Sen")
axes.legend(frameon=False, fontsize=8)

# %% The bars
shown = {"in context": number[f"{arms[0]}/order/icl"]}
for arm in arms:
    for end in ("least", "most"):
        rate = f"{np.nanmedian(number[f'{arm}/order/lr_{end}']):g}"
        shown[f"{arm.replace('_', ' ')}\nlr {rate}"] = number[f"{arm}/order/reference_{end}"]
middles = [float(np.nanmedian(values)) for values in shown.values()]
bars.bar(range(len(shown)), middles, color=["#0072b2"] + ["#d55e00"] * (len(shown) - 1), alpha=0.6)
for i, values in enumerate(shown.values()):
    bars.plot([i] * len(values), values, ".", color="black", markersize=4)
bars.set(yscale="log", ylabel="Sen")
bars.set_xticks(range(len(shown)), list(shown), fontsize=6, rotation=30, ha="right")
for panel in (axes, bars):
    panel.spines[["top", "right"]].set_visible(False)
figure.savefig(target, dpi=150)
print(target)
