"""The weights that a model uses without saying so: how its guess reacts to the query.

References:
    Akyürek et al. 2022, What learning algorithm is in-context learning?, arXiv:2211.15661
    von Oswald et al. 2022, Transformers learn in-context by gradient descent, arXiv:2212.07677
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from icl.comparisons.measured import Curve, Measured
from icl.comparisons.sensitivity import sensitivity
from icl.comparisons.walk import chunks, n_members
from icl.config import ConfigError
from icl.core import Prompt, Sample
from icl.rng import Draw


@dataclass(frozen=True, kw_only=True)
class ImplicitWeights:
    """w = ∂ŷ/∂x_query, a context, against the w* that made its labels.

        cosine      E ⟨w, w*⟩ / (|w| |w*|)
        distance    E |w − w*|² / E |w*|²
        constancy   E ⟨w, w'⟩ / (|w| |w'|), w' at another query of the same context: 1 for a linear learner
        explained   1 − E (ŷ − ⟨w, x_query⟩)² / E ŷ²: 1 for a learner that is linear and through 0

    The curve is the same at every number of pairs.
    """

    numbers: ClassVar[tuple[str, ...]] = ("cosine", "distance", "constancy", "explained")
    n_prompts: int = 500

    def __post_init__(self) -> None:
        if self.n_prompts < 2:
            raise ValueError(f"n_prompts={self.n_prompts} must be >= 2 (another prompt lends its query)")

    def measure(self, model: Any, task: Any, draw: Draw) -> Measured:
        parts = [_sums(model, sample) for sample in chunks(task, self.n_prompts, n_members(model), draw)]
        total = {name: torch.stack([part[name] for part in parts]).sum(0) for name in parts[0]}
        count, members = total.pop("count"), n_members(model)
        numbers = {
            "cosine": total["cosine"] / count, "constancy": total["constancy"] / count,
            "distance": total["away"] / total["true"], "explained": 1 - total["left"] / total["guess"],
        }  # fmt: skip
        (some, *_) = chunks(task, self.n_prompts, members, draw)
        return Measured(
            numbers={name: v.expand(members) for name, v in numbers.items()},
            curves={"pairs": self._by_pairs(model, some)}, n_prompts=self.n_prompts,
        )  # fmt: skip

    def _by_pairs(self, model: Any, sample: Sample) -> Curve:
        prompt, w_star = sample.prompt, _w_star(sample)
        lengths = range(1, prompt.x.shape[2] + 1)
        rows = []
        for n in lengths:
            w = sensitivity(model, Prompt(prompt.x[:, :, :n], prompt.y[:, :, :n], prompt.x_query)).double()
            rows.append((w - w_star).square().sum((1, 2)) / w_star.square().sum((1, 2)))
        return Curve(
            kind="line", title="Error of the implicit weights", x_label="pairs in the context, n",
            y_label="|w − w*|² / |w*|²", x=[float(n) for n in lengths], model=torch.stack(rows, 1).tolist(),
            note=f"w = ∂ŷ/∂x_query; {prompt.x.shape[1]:,} prompts",
        )  # fmt: skip


def _w_star(sample: Sample) -> Float[Tensor, "#M B D"]:
    """The weights of a linear task. Raises ConfigError."""
    if sample.w_star is None or sample.w_star.ndim != 3:
        raise ConfigError("implicit weights need a task with one w* a prompt (target=linear)")
    return sample.w_star.double()


def _sums(model: Any, sample: Sample) -> dict[str, Float[Tensor, "#M"]]:
    prompt, w_star = sample.prompt, _w_star(sample)
    w = sensitivity(model, prompt).double()
    other = sensitivity(model, Prompt(prompt.x, prompt.y, prompt.x_query.roll(1, 1))).double()
    with torch.no_grad():
        last = getattr(model, "last", None)
        guess = (model(prompt)[-1] if last is None else last(prompt)).double()
    linear = (w * prompt.x_query.double()).sum(-1)
    return {
        "cosine": _cosine(w, w_star).sum(1), "constancy": _cosine(w, other).sum(1),
        "away": (w - w_star).square().sum((1, 2)), "true": w_star.square().sum((1, 2)),
        "left": (guess - linear).square().sum(1), "guess": guess.square().sum(1),
        "count": torch.tensor([float(prompt.x.shape[1])], dtype=torch.float64),
    }  # fmt: skip


def _cosine(a: Float[Tensor, "#M B D"], b: Float[Tensor, "#M B D"]) -> Float[Tensor, "#M B"]:
    return torch.cosine_similarity(a, b, dim=-1)
