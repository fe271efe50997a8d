"""The exact population loss of one layer of linear attention: infinitely many prompts a step, no sampling.

It is the infinite-batch limit, so it has no gradient noise: a named mode, never a silent replacement for sampling.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from icl.objectives.units import Unit, in_unit


@dataclass(frozen=True, kw_only=True)
class Population:
    """E (ŷ − y_query)² of the model's weights under the task's law, by `icl.theory.population_loss`.

    Raises:
        ValueError: the task has no closed form (nonlinear targets, uniform inputs with a covariance, distractors).
    """

    task: Any
    unit: Unit = "half_mse"
    needs_sample: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self.task.check_population_loss()

    def __call__(self, model: Any, sample: Any) -> Float[Tensor, "M"]:
        P, Q = model.merged()
        if P.shape[1] != 1:
            raise ValueError(f"objective=population is for one layer of linear attention, the model has {P.shape[1]}")
        half_mse = self.task.one_layer_half_mse(P[:, 0, -1], Q[:, 0], normalize=model.normalize)
        return in_unit(2 * half_mse, self.unit)
