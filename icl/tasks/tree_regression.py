"""In-context regression on decision trees.

References:
    Garg et al. 2022, What can transformers learn in-context?, arXiv:2208.01066 (depth 4, d = 20)
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from icl.core import Sample
from icl.rng import Draw
from icl.tasks.function_classes import tree
from icl.tasks.linear_regression import LinearRegression
from icl.tasks.shifts import Shift


@dataclass(frozen=True, kw_only=True)
class TreeRegression:
    """Prompts (x_i, f(x_i)), x ~ input_scale N(0, I_D), f a full binary tree drawn anew for every prompt.

    A node asks whether one coordinate of x, each as likely, is > 0; the 2^depth leaves are weight_scale N(0, 1). The
    label noise, inactive coordinates, positions and shifts are those of `LinearRegression`. A coordinate that is not
    active is 0, and sends to the left. Labels are single numbers (`n_outputs`).
    """

    dim: int
    n_context: int
    depth: int = 4
    input_scale: float = 1.0
    weight_scale: float = 1.0
    noise_std: float = 0.0
    n_active: int | None = None
    positions: Literal["query", "every"] = "query"
    shift: Shift | None = None
    n_outputs: None = None

    def __post_init__(self) -> None:
        if not 1 <= self.depth <= 20:
            raise ValueError(f"depth={self.depth} must be in 1..20")
        _ = self.inputs

    @cached_property
    def inputs(self) -> LinearRegression:
        """Where inputs come from, and how prompts are made of them."""
        return LinearRegression(
            dim=self.dim, n_context=self.n_context, input_scale=self.input_scale, weight_scale=self.weight_scale,
            noise_std=self.noise_std, n_active=self.n_active, positions=self.positions, shift=self.shift,
        )  # fmt: skip

    def sample(self, batch_size: int, draw: Draw) -> Sample:
        """Prompts of the members of `draw`."""
        x = self.inputs.draw_inputs(batch_size, draw)
        return self.inputs.prompts(x, self.weight_scale * tree(x, draw, self.depth), None, draw)

    def zero_half_mse(self) -> float:
        """½ E y²: of the predictor that says 0."""
        return 0.5 * self.weight_scale**2

    def known_half_mse(self) -> dict[str, float]:
        """Every exact loss that is known, by name: of the query, so none for a target at every position."""
        return {} if self.positions == "every" else {"zero": self.zero_half_mse()}
