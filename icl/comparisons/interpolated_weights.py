"""Halfway between the trained layer and the layer that is the gradient step: do both compute it the same way?

References:
    von Oswald et al. 2022, Transformers learn in-context by gradient descent, arXiv:2212.07677
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from icl.comparisons.loss_ratio import losses
from icl.comparisons.measured import Measured
from icl.comparisons.walk import estimate, half_squared_error, n_members, per_prompt
from icl.config import ConfigError
from icl.constructions.linear_attention_as_gd import linear_attention_as_gd, merged
from icl.core import Sample, last_step
from icl.models.linear_attention import LinearAttention
from icl.rng import Draw


@dataclass(frozen=True, kw_only=True)
class InterpolatedWeights:
    """The layer with P = ½ (P_model + P_step), Q = ½ (Q_model + Q_step), scaled to tr Q_xx = D in both.

        loss_ratio        = E ½(ŷ_between − y)² / E ½(ŷ_reference − y)²
        excess_over_worse = the same over the larger of the model's and the reference's loss

    All three answer the same prompts. If model and step are different solutions, or the model is still on its
    plateau (tr Q_xx near 0), the loss between them is larger by orders of magnitude.
    """

    numbers: ClassVar[tuple[str, ...]] = ("loss_ratio", "excess_over_worse")
    n_prompts: int = 20_000

    def __post_init__(self) -> None:
        if self.n_prompts < 1:
            raise ValueError(f"n_prompts={self.n_prompts} must be >= 1")

    def suits(self, model: Any) -> None:
        """ConfigError unless the model has what is measured."""
        check_one_layer(model)

    def measure(self, model: Any, reference: Any, task: Any, draw: Draw) -> Measured:
        between = halfway(model, reference, task.n_context)

        def ask(model: Any, reference: Any, sample: Sample) -> dict[str, Tensor]:
            guess = last_step(between, sample.prompt)
            return losses(model, reference, sample) | {"between": half_squared_error(guess, sample.target)}

        values = per_prompt(ask, model, reference, task, self.n_prompts, draw)
        numbers, intervals = estimate(values, _reduce, draw)
        return Measured(numbers=numbers, intervals=intervals, n_prompts=self.n_prompts)


def _reduce(mean: dict[str, Tensor]) -> dict[str, Tensor]:
    worse = torch.maximum(mean["model"], mean["reference"])
    return {"loss_ratio": mean["between"] / mean["reference"], "excess_over_worse": mean["between"] / worse}


def check_one_layer(model: Any) -> None:
    """ConfigError unless the model is one layer of linear attention."""
    if getattr(model, "n_layers", None) != 1:
        raise ConfigError(f"{type(model).__name__} is not one layer of linear attention, as is needed here")


@torch.no_grad()
def halfway(model: Any, reference: Any, n_context: int) -> LinearAttention:
    """The layer between `model` and `reference`, a bank as large as the model's.

    Raises:
        ConfigError: the model is not one layer, or the reference not one constant step.
    """
    check_one_layer(model)
    P, Q = (weights[:, 0] for weights in model.merged())
    between = LinearAttention(
        dim=model.dim, parametrization="merged", normalize=model.normalize, n_seeds=n_members(model),
        device=P.device, dtype=P.dtype,
    )  # fmt: skip
    step = step_weights(reference, model.dim, n_context, model.normalize)
    for mine, a, b in zip((between.P, between.Q), _scaled(P, Q), _scaled(*(w.to(P) for w in step)), strict=True):
        mine[:, 0] = (a + b) / 2
    return between


def step_weights(
    reference: Any, dim: int, n_context: int, normalize: bool
) -> tuple[Float[Tensor, "M A A"], Float[Tensor, "M A A"]]:
    """(P, Q) of the layer that is one step of `reference`, or of the reference if it is a layer itself."""
    if getattr(reference, "n_layers", None) == 1:
        P, Q = (weights[:, 0] for weights in reference.merged())
        return P * (n_context if normalize else 1) / (n_context if reference.normalize else 1), Q
    eta, gamma = constant_step(reference)
    step = linear_attention_as_gd(
        dim=dim, n_context=n_context, step_size=eta, preconditioner=gamma, normalize=normalize
    )
    state = merged(step)
    return state["P"][:, 0], state["Q"][:, 0]


def constant_step(reference: Any) -> tuple[float, Float[Tensor, "D D"] | None]:
    """(η, Γ) of a reference whose steps are all the same.

    Raises:
        ConfigError: it is something else.
    """
    step_size, preconditioner = (
        getattr(reference, "step_size", None),
        getattr(reference, "preconditioner", None),
    )
    if not isinstance(step_size, int | float) or not isinstance(preconditioner, Tensor | None):
        raise ConfigError(
            f"{type(reference).__name__} is no gradient descent with one constant step, as is needed here"
        )
    return step_size, preconditioner


def _scaled(P: Tensor, Q: Tensor) -> tuple[Tensor, Tensor]:
    """(c P, Q / c) with c the mean diagonal of Q_xx: the same layer."""
    c = Q[:, :-1, :-1].diagonal(dim1=-2, dim2=-1).mean(-1)[:, None, None]
    return c * P, Q / c
