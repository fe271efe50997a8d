"""Where the tokens of a copy layer look, for a paper: the mean attention of layer 1, one panel a seed.

    python analysis/fig_copy_attention.py outputs/the_copy_layer_is_an_induction_head/<id> [figure.pdf]

Reads the run folder and trains nothing. A row is a token that looks, a column one that it looks at; no one looks at the
query. Weights just beside the diagonal are a copy: of y_i into x_i above it, of x_i into y_i below.
"""

# %% The run
import sys
from pathlib import Path

from matplotlib.figure import Figure

import icl

folder = Path(sys.argv[1])
target = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("copy_attention.pdf")
run = icl.load(folder)
bank = run.model.requires_grad_(False)
attention = bank.attention(bank.tokens(run.sample(500).prompt)).mean(1).cpu().double().numpy()  # (M, S, S-1)
names = [f"${token}_{{{i + 1}}}$" for i in range(attention.shape[-1] // 2) for token in "xy"]

# %% The figure, at most four seeds
shown = attention[:4]
figure = Figure(figsize=(2.6 * len(shown) + 0.6, 2.8), layout="constrained")
for i, (axes, weights) in enumerate(zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True)):
    image = axes.imshow(weights, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    axes.set_xticks(range(len(names)), names, fontsize=6)
    axes.set_yticks(range(len(names) + 1), [*names, "$x_q$"], fontsize=6)
    axes.set_title(f"seed {run.config.seed + i}", fontsize=8)
    axes.set_xlabel("looked at", fontsize=7)
    if i == 0:
        axes.set_ylabel("looking", fontsize=7)
        figure.colorbar(image, ax=axes.figure.axes, shrink=0.8, label="attention")
figure.savefig(target)
print(target)
