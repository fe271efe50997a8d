"""The weights of a chain of thought beside those that make it gradient descent.

References:
    Huang, Wang, Lee 2025, Transformers learn to implement multi-step gradient descent with chain of thought,
    arXiv:2502.21212
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from icl.comparisons.interpolated_weights import constant_step
from icl.comparisons.measured import Measured
from icl.comparisons.walk import estimate, per_prompt
from icl.config import ConfigError
from icl.core import Sample
from icl.objectives.teacher import Teacher
from icl.rng import Draw


@dataclass(frozen=True, kw_only=True)
class ThoughtCircuit:
    """Whether V31, W13 and W24 are those of gradient descent with the step Γ, η of the reference, and nothing else.

        product_error        |V31 W13 + η Γ|_F               w reads itself through the inputs
        label_error          |V31 W24 − η Γ|_F               w reads the labels
        leak                 all other paths of a true thought over these two, in the Frobenius norm: writing from y,
                             on the rows x, y, flag, reading other thoughts, W's other blocks
        teacher_forced_loss  ½ E Σ_t |f(Z_t)[:, last] − (0, 0, w_{t+1}, 1)|² over the model's number of thoughts

    The first three are exact, and unchanged if V grows and W shrinks by the same factor.
    """

    numbers: ClassVar[tuple[str, ...]] = ("product_error", "label_error", "leak", "teacher_forced_loss")
    n_prompts: int = 20_000

    def __post_init__(self) -> None:
        if self.n_prompts < 1:
            raise ValueError(f"n_prompts={self.n_prompts} must be >= 1")

    def suits(self, model: Any) -> None:
        """ConfigError unless the model has what is measured."""
        if not hasattr(model, "matrices"):
            raise ConfigError(f"{type(model).__name__} is no chain of thought, as is needed here")

    def measure(self, model: Any, reference: Any, task: Any, draw: Draw) -> Measured:
        self.suits(model)
        values = per_prompt(_ask, model, reference, task, self.n_prompts, draw)
        numbers, intervals = estimate(values, dict, draw)
        numbers |= circuit_errors(model, *constant_step(reference))
        return Measured(numbers=numbers, intervals=intervals, n_prompts=self.n_prompts)


def _ask(model: Any, reference: Any, sample: Sample) -> dict[str, Tensor]:
    return {"teacher_forced_loss": Teacher(teacher=reference).each(model, sample)}


def circuit_errors(
    model: Any, step_size: float, preconditioner: Float[Tensor, "D D"] | None
) -> dict[str, Float[Tensor, "M"]]:
    """product_error, label_error and leak of every member, in float64."""
    V, W = (weight.detach().double().cpu() for weight in model.matrices())
    d = model.dim
    V31, W13, W24 = V[:, d + 1 : -1, :d], W[:, :d, d + 1 : -1], W[:, d, -1]
    gamma = torch.eye(d).double() if preconditioner is None else preconditioner.double().cpu()
    written = _square(V[:, :, : d + 1]) * _square(W[:, : d + 1, d + 1 :])
    remembered = _square(V[:, :, d + 1 :]) * _square(W[:, d + 1 :, d + 1 :])
    circuit = _square(V31) * (_square(W13) + W24.square())
    return {
        "product_error": _square(V31 @ W13 + step_size * gamma).sqrt(),
        "label_error": _square(V31 * W24[:, None, None] - step_size * gamma).sqrt(),
        "leak": ((written + remembered - circuit).clamp(min=0) / circuit).sqrt(),
    }


def _square(matrix: Float[Tensor, "M I J"]) -> Float[Tensor, "M"]:
    return matrix.square().sum((1, 2))
