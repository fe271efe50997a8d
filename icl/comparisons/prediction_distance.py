"""How far apart the two predictions are.

References:
    von Oswald et al. 2022, Transformers learn in-context by gradient descent, arXiv:2212.07677 ("preds diff")
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from icl.comparisons.measured import Curve, Measured
from icl.comparisons.walk import estimate, per_prompt
from icl.core import Sample, last_step
from icl.rng import Draw


@dataclass(frozen=True, kw_only=True)
class PredictionDistance:
    """distance = E |ŷ_model − ŷ_reference|, in the unit of the label; a vector's norm for several outputs.

    The predictions of the first `n_scatter` prompts are kept for a figure, if they are single numbers.
    """

    numbers: ClassVar[tuple[str, ...]] = ("distance",)
    n_prompts: int = 20_000
    n_scatter: int = 500

    def __post_init__(self) -> None:
        if self.n_prompts < 1 or self.n_scatter < 1:
            raise ValueError(f"n_prompts={self.n_prompts} and n_scatter={self.n_scatter} must be >= 1")

    def measure(self, model: Any, reference: Any, task: Any, draw: Draw) -> Measured:
        values = per_prompt(self._ask, model, reference, task, self.n_prompts, draw)
        numbers, intervals = estimate(values, dict, draw)
        curve = self._scatter(model, reference, task, draw)
        curves = {} if curve is None else {"predictions": curve}
        return Measured(numbers=numbers, intervals=intervals, curves=curves, n_prompts=self.n_prompts)

    @staticmethod
    def _ask(model: Any, reference: Any, sample: Sample) -> dict[str, Tensor]:
        difference = last_step(model, sample.prompt) - last_step(reference, sample.prompt)
        return {"distance": difference.flatten(2).norm(dim=-1) if difference.ndim > 2 else difference.abs()}

    def _scatter(self, model: Any, reference: Any, task: Any, draw: Draw) -> Curve | None:
        def ask(model: Any, reference: Any, sample: Sample) -> dict[str, Tensor]:
            return {
                "model": last_step(model, sample.prompt),
                "reference": last_step(reference, sample.prompt),
            }

        if task.sample(1, draw).target.ndim > 2:
            return None
        values = per_prompt(ask, model, reference, task, self.n_scatter, draw)
        y, x = torch.broadcast_tensors(values["model"], values["reference"])
        return Curve(
            kind="scatter", title="The same prompts, two predictors", x_label="prediction of the reference",
            y_label="prediction of the model", x=x.tolist(), model=y.tolist(),
        )  # fmt: skip
