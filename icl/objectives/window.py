"""The loss of the last T of b loops; the loops before them run without gradient.

References:
    Yang, Lee, Nowak, Papailiopoulos 2023, Looped transformers are better at learning learning algorithms,
    arXiv:2311.12424
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from icl.core import Sample
from icl.objectives.units import Unit, in_unit


@dataclass(frozen=True, kw_only=True)
class Window:
    """mean over the loops b − T + 1 .. b, prompts and positions of (ŷ_t − y)², b = `n_loops`, T = `window`.

    The model runs the first b − T loops without gradient: `model.windowed(prompt, n_loops=b, window=T)` returns
    the guesses of the last T alone, `"T M B *out"`. A curriculum over loops is `objective.n_loops: {0: 6, ..}`.
    """

    n_loops: int
    window: int
    unit: Unit = "mse"
    needs_sample: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.n_loops < 1:
            raise ValueError(f"n_loops={self.n_loops} must be >= 1")
        if not 1 <= self.window <= self.n_loops:
            raise ValueError(f"window={self.window} must be in 1..{self.n_loops}, the loops (n_loops)")

    def __call__(self, model: Any, sample: Sample) -> Float[Tensor, "M"]:
        if not hasattr(model, "windowed"):
            raise ValueError(f"{type(model).__name__} has no loops to take a window of (a method `windowed`)")
        guesses = model.windowed(sample.prompt, n_loops=self.n_loops, window=self.window)
        if guesses.ndim == sample.target.ndim + 2:  # at every position, where the target is that of the query alone
            guesses = guesses[..., -1]
        error = (guesses - sample.target).square()
        return in_unit(error.transpose(0, 1).flatten(1).mean(1), self.unit)
