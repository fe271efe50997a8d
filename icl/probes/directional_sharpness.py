"""How sharp the loss is along the step that each optimiser would take.

References:
    Pan & Li 2023, Toward understanding why Adam converges faster than SGD for transformers, arXiv:2306.00204
"""

import itertools
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from icl.comparisons.measured import Curve, Measured
from icl.config import Train
from icl.probes.loss_surface import LossSurface, Product
from icl.probes.replay import State, replay
from icl.probes.training_loss import as_double, objective_of, recipe
from icl.rng import Draw
from icl.runs import Run

DIRECTIONS = ("sgd", "clip_10", "clip_50", "sign", "adam", "adam_without_momentum")
Values = dict[str, Float[Tensor, "M K"]]


@dataclass(frozen=True, kw_only=True)
class DirectionalSharpness:
    """S_v = vᵀ H v, v the unit vector along the update that one gradient of `batch_size` prompts would make.

    H is the Hessian on `n_prompts` other prompts, at the weights after `steps` updates. Directions: the gradient (sgd),
    its entries cut at the largest 10 % or 50 %, its signs, Adam's update and the same without momentum, g / √v̂, with
    the moments of the run itself (nan if it was not trained by Adam).

    Over all members and steps together, so equal for all members:

        ordered_share        S_sgd > S_clip_50 > S_sign
        adam_below_share, adam_without_momentum_below_share    below S_sgd
        sgd_over_sign_least, sgd_over_sign_median
        sgd_over_adam_median

    and of a member, the mean over steps of S: sgd, sign, adam.
    """

    numbers: ClassVar[tuple[str, ...]] = (
        "ordered_share", "adam_below_share", "adam_without_momentum_below_share", "sgd_over_sign_least",
        "sgd_over_sign_median", "sgd_over_adam_median", "sgd", "sign", "adam",
    )  # fmt: skip
    steps: tuple[int, ...] | list[int]
    batch_size: int = 256
    n_prompts: int = 1000

    def __post_init__(self) -> None:
        if not self.steps or min(self.steps) < 0:
            raise ValueError(f"steps={list(self.steps)} must be one or more steps >= 0")
        for name in ("batch_size", "n_prompts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be >= 1")

    def measure_run(self, run: Run, draw: Draw) -> Measured:
        train, objective = recipe(run), objective_of(run)
        many = as_double(run.task.sample(self.n_prompts, draw.at(0, f"{draw.name}/curvature")))
        surface, rows, steps = LossSurface(run.model, objective, [many]), [], []
        for state in replay(run, self.steps):
            one = as_double(run.task.sample(self.batch_size, draw.at(state.step, f"{draw.name}/gradient")))
            gradient = LossSurface(run.model, objective, [one]).gradient(state.theta)
            product = surface.products(state.theta)
            rows.append({name: _sharpness(product, v) for name, v in directions(gradient, state, train).items()})
            steps.append(state.step)
        values = {name: torch.stack([row[name] for row in rows], dim=1) for name in DIRECTIONS}
        return Measured(numbers=_numbers(values), curves={"sharpness": _curve(steps, values)})


def directions(g: Float[Tensor, "M F"], state: State, train: Train) -> dict[str, Float[Tensor, "M F"]]:
    """The updates, downhill with a minus sign that S does not see, of any length."""
    nothing = torch.full_like(g, torch.nan)
    found = {"sgd": g, "clip_10": clipped(g, 0.9), "clip_50": clipped(g, 0.5), "sign": g.sign()}
    if train.optimizer == "sgd" or len(state.moments) != 2:
        return found | {"adam": nothing, "adam_without_momentum": nothing}
    (beta1, beta2), (mean, square) = train.betas, state.moments
    n = state.step + 1
    root = ((beta2 * square + (1 - beta2) * g.square()) / (1 - beta2**n)).sqrt() + train.eps
    return found | {"adam": (beta1 * mean + (1 - beta1) * g) / (1 - beta1**n) / root, "adam_without_momentum": g / root}


def clipped(g: Float[Tensor, "M F"], quantile: float) -> Float[Tensor, "M F"]:
    """Entries cut at that quantile of their sizes, a member."""
    limit = torch.quantile(g.abs(), quantile, dim=1, keepdim=True)
    return g.clamp(-limit, limit)


def _sharpness(product: Product, v: Float[Tensor, "M F"]) -> Float[Tensor, "M"]:
    unit = v / v.norm(dim=1, keepdim=True)
    return (unit * product(unit)).sum(1)


def _numbers(S: Values) -> dict[str, Float[Tensor, "#M"]]:
    def share(holds: Tensor) -> Tensor:
        return holds.double().mean().view(1)

    adam = not torch.isnan(S["adam"]).any()
    below = {name: share(S[name] < S["sgd"]) if adam else torch.full((1,), torch.nan) for name in DIRECTIONS[4:]}
    return {
        "ordered_share": share((S["sgd"] > S["clip_50"]) & (S["clip_50"] > S["sign"])),
        "adam_below_share": below["adam"],
        "adam_without_momentum_below_share": below["adam_without_momentum"],
        "sgd_over_sign_least": (S["sgd"] / S["sign"]).min().view(1),
        "sgd_over_sign_median": (S["sgd"] / S["sign"]).median().view(1),
        "sgd_over_adam_median": (S["sgd"] / S["adam"]).median().view(1),
        **{name: S[name].mean(1) for name in ("sgd", "sign", "adam")},
    }


def _curve(steps: list[int], S: Values) -> Curve:
    """A point a step and direction, as columns; steps count up within a direction."""
    columns = list(itertools.product(DIRECTIONS, range(len(steps))))
    rows = torch.stack([S[name][:, i] for name, i in columns], dim=1)
    return Curve(
        kind="map", title="Directional sharpness", x_label="direction, at step", y_label="member",
        x=[f"{name} {steps[i]}" for name, i in columns], y=list(range(len(rows))), model=rows.tolist(),
    )  # fmt: skip
