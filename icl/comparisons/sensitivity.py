"""How the two predictions react to the query: the linear maps that the predictors apply to it.

References:
    von Oswald et al. 2022, Transformers learn in-context by gradient descent, arXiv:2212.07677 ("model cos",
    "model diff")
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from icl.comparisons.measured import Measured
from icl.comparisons.walk import estimate, n_members, per_prompt
from icl.core import Prompt, Sample, last_step
from icl.rng import Draw

EPSILON = 1e-8  # added to both norms, as in the source


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """With g = ∂ŷ/∂x_query of each predictor, by autograd:

        cosine = E ⟨g_model, g_reference⟩ / (|g_model| |g_reference|),    distance = E |g_model − g_reference|

    The norm of a difference, not its square, as in the source's code.
    """

    numbers: ClassVar[tuple[str, ...]] = ("cosine", "distance")
    n_prompts: int = 20_000

    def __post_init__(self) -> None:
        if self.n_prompts < 1:
            raise ValueError(f"n_prompts={self.n_prompts} must be >= 1")

    def measure(self, model: Any, reference: Any, task: Any, draw: Draw) -> Measured:
        values = per_prompt(self._ask, model, reference, task, self.n_prompts, draw)
        numbers, intervals = estimate(values, dict, draw)
        return Measured(numbers=numbers, intervals=intervals, n_prompts=self.n_prompts)

    @staticmethod
    def _ask(model: Any, reference: Any, sample: Sample) -> dict[str, Tensor]:
        a, b = sensitivity(model, sample.prompt), sensitivity(reference, sample.prompt)
        norms = (a.norm(dim=-1) + EPSILON) * (b.norm(dim=-1) + EPSILON)
        return {"cosine": (a * b).sum(-1) / norms, "distance": (a - b).norm(dim=-1)}


def sensitivity(predictor: Any, prompt: Prompt) -> Float[Tensor, "#M B D"]:
    """∂ŷ/∂x_query of every member.

    A prediction depends on its own query alone, so the gradient of the sum over members and prompts holds
    them all; on shared prompts every member gets a query of its own first.

    Raises:
        ValueError: the predictor answers with several outputs.
    """
    with torch.enable_grad():
        prompt = prompt.expand(max(n_members(predictor), prompt.x.shape[0]))
        x_query = prompt.x_query.detach().clone().requires_grad_()
        prediction = last_step(predictor, Prompt(prompt.x, prompt.y, x_query))
        if prediction.ndim != 2:
            raise ValueError(f"a sensitivity needs one output a prompt, not {tuple(prediction.shape[2:])}")
        return torch.autograd.grad(prediction.sum(), x_query)[0]
