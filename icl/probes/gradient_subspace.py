"""How much of a gradient lies in the Hessian's top eigenspaces: the full batch's and minibatches' apart.

References:
    Gur-Ari, Roberts, Dyer 2018, Gradient descent happens in a tiny subspace, arXiv:1812.04754
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from icl.comparisons.measured import Curve, Measured
from icl.probes.eigenspaces import Method, largest, overlap, share_within
from icl.probes.training_loss import minibatch_gradients, minibatches, recipe, surface_of, training_samples, weights_at
from icl.rng import Draw
from icl.runs import Run

TOPS = (1, 5, 10, 20)


@dataclass(frozen=True, kw_only=True)
class GradientSubspace:
    """|V_kᵀ g|² / |g|², V_k the k top eigenvectors of the training loss's Hessian, F parameters; by chance k/F.

        full_K           K of 1, 5, 10, 20: of the full-batch gradient, median over the steps from `from_step` on
        full_K_worst     the largest of them (K = 10)
        minibatch_K      of gradients of `batch_size` prompts, mean over `n_batches` of them, median over those steps
                         (all prompts of a fixed set that has fewer)
        minibatch_K_over_uniform   the same over K/F (K = 10)
        overlap          of the top-10 spaces at the last two of `steps`, 1 for the same space

    The full-batch gradient is the descent direction of gradient descent; a minibatch's is that and noise.
    """

    numbers: ClassVar[tuple[str, ...]] = (
        *(f"full_{k}" for k in TOPS), "full_10_worst", *(f"minibatch_{k}" for k in TOPS), "minibatch_10_over_uniform",
        "overlap",
    )  # fmt: skip
    steps: tuple[int, ...] | list[int]
    from_step: int = 0
    batch_size: int = 16
    n_batches: int = 64
    n_prompts: int = 1000
    method: Method = "auto"

    def __post_init__(self) -> None:
        if not self.steps or sorted(set(self.steps)) != list(self.steps):
            raise ValueError(f"steps={list(self.steps)} must be one or more steps, rising")
        for name in ("batch_size", "n_batches", "n_prompts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be >= 1")

    def measure_run(self, run: Run, draw: Draw) -> Measured:
        surface, weights = surface_of(run, self.n_prompts, draw), weights_at(run, self.steps)
        if surface.n_parameters < max(TOPS):
            raise ValueError(f"the model has {surface.n_parameters} parameters a member, the probe needs {max(TOPS)}")
        full, mini, spaces = [], [], []
        for step, theta in weights.items():
            space = largest(surface, theta, max(TOPS), self.method)[1]
            full.append(_shares(surface.gradient(theta), space))
            mini.append(self._minibatch(run, theta, space, draw.at(step, f"{draw.name}/minibatch")))
            spaces.append(space[..., :10])
        full, mini = torch.stack(full, -1), torch.stack(mini, -1)  # (M, K, steps)
        late = torch.tensor([step >= min(self.from_step, max(weights)) for step in weights])
        numbers = {f"full_{k}": full[:, i, late].median(-1).values for i, k in enumerate(TOPS)}
        numbers |= {f"minibatch_{k}": mini[:, i, late].median(-1).values for i, k in enumerate(TOPS)}
        numbers["full_10_worst"] = full[:, TOPS.index(10), late].amax(-1)
        numbers["minibatch_10_over_uniform"] = numbers["minibatch_10"] * surface.n_parameters / 10
        numbers["overlap"] = overlap(spaces[-1], spaces[-2] if len(spaces) > 1 else spaces[-1])
        at = TOPS.index(10)
        return Measured(numbers=numbers, curves={"top_10": _curve(list(weights), full[:, at], mini[:, at])})

    def _minibatch(self, run: Run, theta: Tensor, space: Tensor, draw: Draw) -> Float[Tensor, "M K"]:
        samples = training_samples(run, self.n_prompts, draw)
        size = self.batch_size
        if recipe(run).n_batches is not None:
            size = min(size, sum(sample.target.shape[1] for sample in samples))
        shares = []
        for member, (row, V) in enumerate(zip(theta, space, strict=True)):
            batches = minibatches(run, samples, self.n_batches, size, member, draw.at(member))
            g = minibatch_gradients(run, row, batches)
            shares.append(_shares(g, V.expand(len(g), -1, -1)).mean(0))
        return torch.stack(shares)


def _shares(g: Float[Tensor, "n F"], space: Float[Tensor, "n F K"]) -> Float[Tensor, "n K2"]:
    return torch.stack([share_within(g, space[..., :k]) for k in TOPS], dim=-1)


def _curve(steps: list[int], full: Float[Tensor, "M K"], mini: Float[Tensor, "M K"]) -> Curve:
    return Curve(
        kind="line", title="Share of the gradient in the ten sharpest directions", x_label="training step",
        y_label="share of the squared norm", x=steps, model=full.tolist(), reference=mini.tolist(),
        reference_label="minibatch gradients", note="the model's lines are the full-batch gradient",
    )  # fmt: skip
