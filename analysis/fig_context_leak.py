"""Rules read out of the weights, beside the source's: a table for a paper.

    python analysis/fig_context_leak.py outputs/context_small_llama/<id>

Reads the run folder and trains nothing. Ours: mean over seeds and its 95 % interval over all their rules, Wilson's for
shares of rules; for means of probabilities and of `membership` normal, from the seeds' own.
The source's: Zhu et al. 2025, Llama-3.2-3B, n = 10, d = 5, chance 1 %.
"""

# %% The run
import math
import sys
from pathlib import Path

import icl

SOURCE = {  # (books 1-4, book 5): restricted to the target alphabet, and not
    "greedy": (2.11, 2.05), "sampled": (1.91, 1.34), "unfiltered": (0.26, 2.05),
}  # fmt: skip
run = icl.load(Path(sys.argv[1]))
found, n2 = run.folder.record("comparisons"), run.config.task.n_letters**2
n_rules = {"earlier": n2 * (run.config.task.n_levels - 1), "last": n2, "held_out": run.config.task.held_out}
chance = {"greedy": 1 / n2, "sampled": 1 / n2, "unfiltered": 1 / (n2 * run.config.task.n_levels), "membership": 0.5}


# %% Intervals
def over_seeds(values, intervals, rules, share):
    """95 % for the mean over seeds."""
    mean, n, z = sum(values) / len(values), rules * len(values), 1.96
    if share:
        middle, half = mean + z * z / (2 * n), z * math.sqrt(mean * (1 - mean) / n + z * z / (4 * n * n))
        return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)
    half = math.sqrt(sum(((high - low) / 2) ** 2 for low, high in intervals)) / len(values)
    return max(0.0, mean - half), min(1.0, mean + half)


# %% A line a training and measure; rules that were shown and never needed where there are some
columns = {"earlier": "earlier books", "last": "last book"}
if run.config.task.held_out:
    columns["held_out"] = "never needed"
heads = " ".join(f"{title:>26s}" for title in columns.values())
print(f"{'training':16s} {'asked as':9s} {'measure':11s} {heads}   chance   source")
trainings = ["probes", *(name for name in run.config.references if f"{name}/leak/greedy_last" in found["numbers"])]
for training in trainings:
    for probe, asked in (("leak", "rule"), ("leak_source", "source")):
        for measure, by_chance in chance.items():
            cells = []
            for which in columns:
                key = f"{training}/{probe}/{measure}_{which}"
                values, intervals = found["numbers"][key], found["intervals"][key]
                low, high = over_seeds(values, intervals, n_rules[which], measure in ("greedy", "unfiltered"))
                cells.append(f"{100 * sum(values) / len(values):6.1f} [{100 * low:5.1f}, {100 * high:5.1f}] %")
            source = "" if measure not in SOURCE else "{:.2f} / {:.2f} %".format(*SOURCE[measure])
            name = "annealed" if training == "probes" else training
            line = " ".join(f"{cell:>26s}" for cell in cells)
            print(f"{name:16s} {asked:9s} {measure:11s} {line} {100 * by_chance:6.1f} %   {source}")
