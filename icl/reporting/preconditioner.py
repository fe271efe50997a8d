"""Figures of the learned preconditioner: beside the optimal one, and as it grew.

Γ is what a one-layer model does to its context:  ŷ = x_queryᵀ Γ Σᵢ yᵢ xᵢ.
"""

import math
from typing import Any

import numpy as np

from icl.reporting import canvas
from icl.reporting.canvas import Array
from icl.reporting.losses import span_of
from icl.reporting.page import Panel
from icl.runs import Run


def learned(run: Run, model: Any) -> Array | None:
    """Γ of every member (M, D, D), or None for a model that has none."""
    read = getattr(model, "preconditioner", None)
    if read is None:
        return None
    try:
        gamma = read(getattr(run.task, "n_context", None))
    except ValueError:  # a model of several layers has no single Γ
        return None
    gamma = gamma.detach().cpu().double().numpy()
    return gamma.reshape(-1, *gamma.shape[-2:])


def optimal(run: Run) -> Array | None:
    """Γ* of the task (D, D), or None where no closed form is known."""
    best = getattr(run.task, "best_preconditioner", None)
    if best is None:
        return None
    try:
        gamma = best()
    except ValueError:
        return None
    return gamma.detach().cpu().double().numpy().reshape(gamma.shape[-2:])


def preconditioner_figures(run: Run) -> list[Panel | None]:
    """The panels that this run's model and task allow, possibly none."""
    gamma = learned(run, run.model)
    if gamma is None or not np.isfinite(gamma).all(axis=(1, 2)).any():
        return []
    best = optimal(run)
    best = best if best is not None and best.shape == gamma.shape[1:] else None
    panels: list[Panel | None] = [heat_maps(gamma, best, first_seed=run.config.get("seed", 0))]
    if run.folder.has("snapshots.safetensors"):
        steps, grown = zip(*((step, learned(run, model)) for step, model in run.snapshots()), strict=True)
        panels.append(growth(np.array(steps), np.stack(grown), best))
    return panels


def distances(gamma: Array, best: Array) -> Array:
    """‖Γ − Γ*‖ / ‖Γ*‖ of every member, in the Frobenius norm."""
    return np.linalg.norm(gamma - best, axis=(1, 2)) / np.linalg.norm(best)


def heat_maps(gamma: Array, best: Array | None, *, first_seed: int = 0) -> Panel:
    """Γ of the median member beside Γ*, on one colour scale that is white at zero."""
    finite = [m for m in range(len(gamma)) if np.isfinite(gamma[m]).all()]
    far = np.zeros(len(gamma)) if best is None else distances(gamma, best)
    member = sorted(finite, key=lambda m: far[m])[(len(finite) - 1) // 2]
    shown = [(f"learned Γ, seed {first_seed + member}", gamma[member])]
    shown += [] if best is None else [("best Γ*", best)]
    size = max(float(np.abs(values).max()) for _, values in shown) or 1.0
    figure, axes = canvas.new(height=3.7, columns=len(shown))
    images = []
    for i, (one, (name, values)) in enumerate(zip(np.atleast_1d(axes), shown, strict=True)):
        images.append(one.imshow(values, cmap="RdBu_r", vmin=-size, vmax=size, interpolation="nearest"))
        one.set_title(name, fontsize=canvas.FONT, color=canvas.INK)
        one.spines[:].set_visible(False)
        ticks = range(0, len(values), math.ceil(len(values) / 5))
        one.set_xticks(ticks, [str(t + 1) for t in ticks])
        one.set_yticks(ticks, [str(t + 1) for t in ticks])
        canvas.name_axes(one, "coordinate of xᵢ", "" if i else "coordinate of x_query", grid=False)
    bar = figure.colorbar(images[0], ax=axes, orientation="horizontal", shrink=0.8, aspect=30)
    bar.ax.xaxis.set_major_formatter(canvas.tick)
    bar.ax.tick_params(labelsize=canvas.FONT, color=canvas.SOFT, labelcolor=canvas.INK)
    bar.outline.set_visible(False)
    bar.set_label("entry of Γ, in ŷ = x_queryᵀ Γ Σᵢ yᵢ xᵢ", fontsize=canvas.FONT, color=canvas.INK)
    title, caption = "The learned preconditioner", _heat_caption(far[finite], far[member], best is not None)
    return Panel(title, canvas.to_svg(figure, "gamma", f"{title}. {caption}"), caption)


def _heat_caption(far: Array, shown: float, has_best: bool) -> str:
    if not has_best:
        return "The matrix by which the trained layer multiplies Σᵢ yᵢ xᵢ."
    share = f"‖Γ − Γ*‖ / ‖Γ*‖ is {100 * shown:.2g} % for this member"
    others = f", the median one, and {100 * far.max():.2g} % for the worst" if len(far) > 1 else ""
    return f"On one colour scale the two should look the same: {share}{others}."


def growth(steps: Array, gamma: Array, best: Array | None) -> Panel | None:
    """Mean diagonal and mean |off-diagonal| of Γ (S, M, D, D) at the snapshots."""
    if len(steps) < 3:
        return None
    dim = gamma.shape[-1]
    diagonal = np.trace(gamma, axis1=2, axis2=3) / dim
    off = np.abs(gamma * (1 - np.eye(dim))).sum((2, 3)) / max(dim * (dim - 1), 1)
    figure, axes = canvas.new()
    canvas.bundle(axes, steps, diagonal, color=canvas.MODEL, name="diagonal of Γ, mean")
    canvas.bundle(axes, steps, off, color=canvas.OTHER, name="off the diagonal, mean |·|")
    if best is not None:
        mean = float(np.trace(best)) / dim
        label = f"diagonal of Γ*, mean: {mean:.4g}"
        axes.axhline(mean, color=canvas.INK, linewidth=1.3, linestyle=canvas.DASHES[0], label=label)
    canvas.step_axis(axes, int(steps[-1]))
    canvas.name_axes(axes, "training step", "entry of Γ")
    canvas.legend(figure, axes)
    title, caption = "How it grew", _growth_caption(steps, diagonal)
    return Panel(title, canvas.to_svg(figure, "growth", f"{title}. {caption}"), caption)


def _growth_caption(steps: Array, diagonal: Array) -> str:
    """When the plateau broke: the first snapshot at which a tenth of the final diagonal is there."""
    ends = diagonal[-1]
    alive = np.isfinite(ends) & (np.abs(ends) > 10 * np.abs(diagonal[0]))
    if not alive.any():
        return "Every thin line is one member; the thick lines are their medians."
    broke = steps[np.argmax(np.abs(diagonal[:, alive]) > 0.1 * np.abs(ends[alive]), axis=0)]
    return (
        f"On the plateau Γ stays near zero; a tenth of its final diagonal is there {span_of(broke)} "
        "(the first snapshot that shows it)."
    )
