"""Does the order of the demonstrations matter as much to finetuning as to in-context learning?

References:
    Shen et al. 2023, Do pretrained transformers learn in-context by gradient descent?, arXiv:2310.08540
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from icl.comparisons.language_member import Member, number
from icl.comparisons.measured import Curve, Measured
from icl.comparisons.prediction_overlap import next_token
from icl.core import TokenPrompt
from icl.rng import Draw


@dataclass(frozen=True, kw_only=True)
class OrderSensitivity:
    """Sen = mean over queries of Σ_v std over orders of p(v), over the whole vocabulary (population std).

    `icl` and the reference answer the first `n_queries` queries after the first `n_demos` demonstrations in the same
    `n_orders` orders. An algorithm that in-context learning runs must have its sensitivity; full-batch descent has
    none. The reference is measured at every learning rate of its grid: `least` and `most` are the smallest and the
    largest that did not diverge in any order; `ratio_*` = icl / reference.
    """

    reads: ClassVar[str] = "words"
    numbers: ClassVar[tuple[str, ...]] = (
        "icl", "reference_least", "reference_most", "ratio_least", "ratio_most", "lr_least", "lr_most", "diverged",
    )  # fmt: skip
    n_orders: int = 5
    n_demos: int = 8
    n_queries: int = 30

    def __post_init__(self) -> None:
        if self.n_orders < 2 or self.n_demos < 1 or self.n_queries < 1:
            raise ValueError(f"n_orders={self.n_orders} must be >= 2, n_demos={self.n_demos} and n_queries >= 1")

    def fits(self, reference: Any) -> bool:
        """Only what is trained has a learning rate."""
        return hasattr(reference, "grid")

    def measure(self, model: Member, reference: Any, task: Any, draw: Draw) -> Measured:
        prompts = [few(model.prompt, self.n_queries, order) for order in self.orders(model)]
        asked = {"start": reference.start, "seed": model.seed, "capture": True}
        icl = sensitivity(torch.stack([next_token(model.model.read(p, **asked)) for p in prompts])).item()
        found = [self._of(model, reference, prompts, lr) for lr in reference.grid]
        alive = [i for i, value in enumerate(found) if value == value]
        least, most = (alive[0], alive[-1]) if alive else (0, 0)
        numbers = {
            "icl": icl, "reference_least": found[least], "reference_most": found[most],
            "ratio_least": icl / found[least] if found[least] else float("inf"),
            "ratio_most": icl / found[most] if found[most] else float("inf"),
            "lr_least": reference.grid[least], "lr_most": reference.grid[most],
            "diverged": 1 - len(alive) / len(found),
        }  # fmt: skip
        curve = Curve(
            kind="line", title="Order sensitivity, by learning rate", x_label="learning rate", y_label="Sen",
            x=reference.grid, model=[found], reference=[[icl] * len(found)], reference_label="in context", log_x=True,
            log_y=True, model_label="finetuning",
        )  # fmt: skip
        curves = {"sensitivity_by_learning_rate": curve} if len(found) > 1 else {}
        return Measured(
            numbers={name: number(value) for name, value in numbers.items()}, curves=curves,
            n_prompts=len(prompts[0].query),
        )  # fmt: skip

    def orders(self, model: Member) -> Int[Tensor, "O K"]:
        """Permutations of the first demonstrations, the same for every reference."""
        n = min(self.n_demos, model.prompt.n_demos)
        return Draw([model.seed], "order_sensitivity").permutations(self.n_orders, n)[0].to(model.prompt.demos.device)

    def _of(self, model: Member, reference: Any, prompts: list[TokenPrompt], lr: float) -> float:
        """The reference's sensitivity at one learning rate; nan if an order diverges."""
        answers = []
        for prompt in prompts:
            tuned = reference.tuned(model.model, prompt, lr=lr, seed=model.seed, capture=True)
            if tuned.diverged:
                return float("nan")
            answers.append(next_token(tuned.reading))
        return sensitivity(torch.stack(answers)).item()


def few(prompt: TokenPrompt, n_queries: int, order: Int[Tensor, "K"]) -> TokenPrompt:
    """The first queries behind the demonstrations in `order`."""
    names = ("query", "query_mask", "answer_at")
    cut = {name: getattr(prompt, name)[:n_queries] for name in names}
    return TokenPrompt(**vars(prompt.reordered(order)) | cut)


def sensitivity(p: Float[Tensor, "O B V"]) -> Float[Tensor, ""]:
    """Mean over queries of Σ_v std over orders."""
    return p.std(0, unbiased=False).sum(-1).mean()
