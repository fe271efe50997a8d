"""One trained layer against the best one step, under the task's law itself: no prompts, no noise of prompts.

References:
    Mahankali, Hashimoto, Ma 2023, One step of gradient descent is provably optimal, arXiv:2307.03576
    Ahn et al. 2023, Transformers learn to implement preconditioned gradient descent, arXiv:2306.00297
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from icl.comparisons.measured import Measured
from icl.config import ConfigError
from icl.rng import Draw
from icl.tasks.linear_regression_theory import NotKnown


@dataclass(frozen=True, kw_only=True)
class ExactLossRatio:
    """The population loss of the learned weights over that of the best step, and the learned step itself.

        loss_ratio           E ½(ŷ − y)² of all the learned weights / the same of Γ*
        preconditioner_error |Γ − Γ*|_F / |Γ*|_F, where the layer's step is ŷ = x_queryᵀ Γ Σᵢ yᵢ xᵢ
        step_size            N tr Γ / D, the step of w = (η/N) Σᵢ yᵢ xᵢ
        step_size_ratio      step_size over that of Γ*, tr Γ / tr Γ*

    The best step is the task's own answer; the reference is not asked. In float64. What has no closed form is
    nan: both losses for nonlinear targets, both numbers against Γ* where it is 0 (quadratic) or unknown.
    """

    numbers: ClassVar[tuple[str, ...]] = (
        "loss_ratio", "half_mse", "preconditioner_error", "step_size", "step_size_ratio"
    )  # fmt: skip

    def measure(self, model: Any, reference: Any, task: Any, draw: Draw) -> Measured:
        _check_one_layer(model)
        learned = model.preconditioner(task.n_context).detach().double().cpu()
        half_mse = known(lambda: learned_half_mse(model, task))
        best = torch.as_tensor(known(task.best_preconditioner)).double()
        size = learned.diagonal(dim1=-2, dim2=-1).mean(-1)
        best_size = best.diagonal().mean() if best.ndim == 2 else best
        numbers = {
            "loss_ratio": torch.as_tensor(half_mse / known(task.best_one_step_half_mse)),
            "half_mse": torch.as_tensor(half_mse),
            "preconditioner_error": (learned - best).flatten(1).norm(dim=1) / best.norm(),
            "step_size": task.n_context * size,
            "step_size_ratio": size / best_size,
        }
        return Measured(numbers={name: _finite_or_nan(value.double()) for name, value in numbers.items()})


def learned_half_mse(model: Any, task: Any) -> Float[Tensor, "M"]:
    """E ½(ŷ − y)² of one layer's merged weights, in float64.

    Raises:
        NotKnown: the task has no closed form.
    """
    P, Q = (weights.detach().double().cpu() for weights in model.merged())
    return task.one_layer_half_mse(P[:, 0, -1], Q[:, 0], normalize=model.normalize)


def _check_one_layer(model: Any) -> None:
    """ConfigError unless the model is one layer of linear attention with one output, from zero."""
    if getattr(model, "n_layers", None) != 1 or model.n_outputs is not None or model.w_init.count_nonzero() > 0:
        raise ConfigError(f"{type(model).__name__} is not one layer of linear attention from w_init = 0, as needed")


def known(answer: Callable[[], Any]) -> Any:
    """The answer, or nan where the task does not know one."""
    try:
        return answer()
    except NotKnown:
        return math.nan


def _finite_or_nan(value: Tensor) -> Tensor:
    return value.reshape(-1).where(value.reshape(-1).isfinite(), math.nan)
