"""The gap that grows with the levels: steps of context-enhanced learning, and what its outputs teach a table.

    python analysis/fig_context_levels.py outputs/context_steps_grow_linearly/<id> [figure.pdf]

Reads the run folder and trains nothing. Left: steps until all rules are in the weights (dots: seeds, line: mean).
Right: accuracy on new strings without context, after the same 160 supervised outputs: learning with the books in the
context, without them, and a table of the windows of 2d letters that the outputs show.
"""

# %% The run
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import icl

folder = Path(sys.argv[1])
target = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("context_levels.pdf")
run = icl.load(folder)
numbers = run.folder.record("comparisons")["numbers"]
words = ["two", "three", "four", "five"]
levels = np.array([2, 3, 4, 5])
chance = run.config.task.n_letters**-2


def of(name: str, without: bool = False) -> np.ndarray:
    """A number of every seed, a row a number of levels."""
    own = ["probes", *(f"{word}_levels" for word in words[1:])]
    return np.array([numbers[f"{at}/rules/{name}"] for at in ([f"{w}_without" for w in words] if without else own)])


# %% Two panels
figure = Figure(figsize=(7.0, 2.9), layout="constrained")
left, right = figure.subplots(1, 2)
steps = of("steps").astype(float)
left.plot(levels, steps, "o", color="C0", markersize=3, alpha=0.4)
left.plot(levels, steps.mean(1), color="C0", linewidth=2)
left.set_ylim(0, None)
left.set_ylabel("steps until all rules are held")
for name, values, color in (
    ("phrasebooks in the context", of("accuracy"), "C0"),
    ("no context", of("accuracy", without=True), "C3"),
    ("table of windows", of("looked_up"), "C2"),
):
    right.plot(levels, values.mean(1), "o-", color=color, markersize=4, label=name)
right.axhline(chance, color="0.5", linestyle=":", linewidth=1, label="chance")
right.set_ylim(0, 1.05)
right.set_ylabel("pairs of new strings right")
right.legend(fontsize=7, frameon=False)
for axes in (left, right):
    axes.set_xticks(levels)
    axes.set_xlabel("levels d")
figure.savefig(target)
print(target)
