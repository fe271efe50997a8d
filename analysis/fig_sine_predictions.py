"""Two ways to fit a sine from ten points, for a paper: the transformer, and an MLP with one gradient step.

    python analysis/fig_sine_predictions.py outputs/mlp_before_attention_explains_sine/ID outputs/.../ID [figure.pdf]

The first run is the transformer's; the second its reference, whose folder `reproduce` prints. Reads both and trains
nothing. A panel is one prompt: its context, the wave behind it, and each seed's guess at every query.
"""

# %% The runs
import dataclasses
import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

import icl

runs = {"MLP and linear attention": icl.load(sys.argv[1]), "MLP and one GD step": icl.load(sys.argv[2])}
target = Path(sys.argv[3]) if len(sys.argv) > 3 else Path("sine_predictions.pdf")
first = next(iter(runs.values()))
N_PANELS, COLOURS = 4, ("#0072b2", "#d55e00")

# %% Prompts, asked at every x of a grid: (panels, N) points, (M, panels, K) guesses
prompt = first.sample(N_PANELS).prompt
x, y = (t[0].cpu().double().numpy() for t in (prompt.x[..., 0], prompt.y))
grid = torch.linspace(-first.task.input_range, first.task.input_range, 201).to(prompt.x)
asked = dataclasses.replace(
    prompt,
    x=prompt.x.repeat_interleave(len(grid), 1),
    y=prompt.y.repeat_interleave(len(grid), 1),
    x_query=grid[:, None].repeat(N_PANELS, 1)[None],
)
guesses = {}
for name, run in runs.items():
    guess = run.model.requires_grad_(False)(asked)[-1]
    guesses[name] = guess.unflatten(1, (N_PANELS, len(grid))).cpu().double().numpy()
place = grid.cpu().double().numpy()

# %% The waves: y = α sin x + β cos x is linear in α and β, and the context is without noise
basis = np.stack([np.sin(x), np.cos(x)], -1)
waves = [np.linalg.lstsq(b, labels, rcond=None)[0] @ [np.sin(place), np.cos(place)] for b, labels in zip(basis, y)]

# %% The figure
figure = Figure(figsize=(6.8, 1.9), layout="constrained")
for i, axes in enumerate(figure.subplots(1, N_PANELS, sharey=True)):
    axes.plot(place, waves[i], color="black", linewidth=0.8, linestyle="--", label="the wave")
    for (name, values), colour in zip(guesses.items(), COLOURS, strict=True):
        axes.plot(place, values[:, i].T, color=colour, linewidth=0.4, alpha=0.5)
        axes.plot(place, np.median(values[:, i], axis=0), color=colour, linewidth=1.2, label=name)
    axes.plot(x[i], y[i], "o", color="black", markersize=2.5, label="context")
    axes.set(xlabel="x", ylabel="y" if i == 0 else "")
    axes.spines[["top", "right"]].set_visible(False)
figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False, fontsize=7)
figure.savefig(target)
print(target)
