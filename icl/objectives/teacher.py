"""Step t of the model follows step t of an algorithm, from the algorithm's own state: teacher forcing.

References:
    Huang, Wang, Lee 2025, Transformers learn to implement multi-step gradient descent with chain of thought,
    arXiv:2502.21212
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from icl.core import Sample


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """½ E Σ_{t<k} |f(Z_t)[:, last] − (0, 0, w_{t+1}, 1)|², Z_t from the teacher's thoughts w_0 .. w_t.

    `teacher` is an algorithm that returns weights, k is `n_thoughts`, or the model's own number of them. Every row of
    the thought counts, so the unit is not that of the task. The source's sum has one thought more (t ≤ k), which
    changes no minimiser.

    Raises:
        ValueError: the teacher answers with labels, or the model has no thoughts.
    """

    teacher: Any
    n_thoughts: int | None = None
    unit: ClassVar[str] = "teacher_half_mse"
    needs_sample: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.n_thoughts is not None and self.n_thoughts < 1:
            raise ValueError(f"n_thoughts={self.n_thoughts} must be >= 1")
        if getattr(self.teacher, "returns", None) != "weights":
            raise ValueError(f"teacher={type(self.teacher).__name__} must be an algorithm with returns=weights")

    def __call__(self, model: Any, sample: Sample) -> Float[Tensor, "M"]:
        return self.each(model, sample).mean(-1)

    def each(self, model: Any, sample: Sample) -> Float[Tensor, "M B"]:
        """The loss of every prompt."""
        if not hasattr(model, "teacher_forced"):
            raise ValueError(f"{type(model).__name__} has no thoughts to teach (a method `teacher_forced`)")
        taught = self.teacher(sample.prompt, steps=self.n_thoughts or model.n_thoughts)
        error = model.teacher_forced(sample.prompt, taught[:-1]) - model.thought(taught[1:])
        return 0.5 * error.square().sum((0, 3))
