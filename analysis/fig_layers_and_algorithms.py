"""Which step of which algorithm is every layer: similarity of errors of the layers' read-outs to candidates and steps.

    python analysis/fig_layers_and_algorithms.py DIR [fig.pdf]

Left: every layer beside every candidate that was fitted to it. Right: beside the steps of Newton (top) and of gradient
descent (bottom); a dot marks the most similar step. The data are those of the probe `layer_steps`.
"""

# %% The run
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

import icl

mpl.rcParams["font.size"] = 8
run = icl.load(sys.argv[1])
target = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("layers_and_algorithms.pdf")
found = run.folder.record("comparisons")["curves"]
probe = next(key.rsplit("/", 1)[0] for key in found if key.endswith("/candidates"))
curves: dict[str, Any] = {name: found[f"{probe}/{name}"] for name in ("candidates", "newton", "gd")}


def draw(axes: Any, values: np.ndarray, x: list[Any], y: list[Any]) -> Any:
    """A map with its numbers' labels."""
    image = axes.imshow(values, cmap="viridis", vmin=0.4, vmax=1, aspect="auto", interpolation="nearest")
    axes.set_xticks(range(len(x)), x, fontsize=6.5, rotation=90 if len(x) > 5 else 0)
    axes.set_yticks(range(len(y)), y, fontsize=6.5)
    return image


# %% The figure
figure = Figure(figsize=(7.2, 3.6), layout="constrained")
left, right = figure.subfigures(1, 2, width_ratios=[1, 1.3])
axes = left.subplots()
values = np.array(curves["candidates"]["model"], dtype=float)
names = [name.replace("_", " ") for name in curves["candidates"]["y"]]
image = draw(axes, values, curves["candidates"]["x"], names)
for row, column in np.ndindex(*values.shape):
    light = "black" if values[row, column] > 0.75 else "white"
    axes.text(column, row, f"{values[row, column]:.2f}", ha="center", va="center", fontsize=6, color=light)
axes.set_title("candidates fitted to the layer", fontsize=8)
for axes, (name, title) in zip(right.subplots(2, 1), (("newton", "iterative Newton"), ("gd", "gradient descent"))):
    values, steps = np.array(curves[name]["model"], dtype=float), [f"{x:g}" for x in curves[name]["x"]]
    image = draw(axes, values, steps, curves[name]["y"])
    axes.plot(values.argmax(1), range(len(values)), "o", color="#d55e00", markersize=5)
    axes.set_title(f"steps of {title}", fontsize=8)
right.colorbar(image, ax=right.axes, label="similarity of errors", shrink=0.8)
figure.savefig(target)
print(target)
