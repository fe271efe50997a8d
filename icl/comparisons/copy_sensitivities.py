"""Where the first layer of a model takes its tokens from: the copy that induction heads are made of.

References:
    von Oswald et al. 2022, Transformers learn in-context by gradient descent, arXiv:2212.07677
    Olsson et al. 2022, In-context learning and induction heads, arXiv:2209.11895
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from icl.comparisons.measured import Curve, Measured
from icl.config import ConfigError
from icl.rng import Draw


@dataclass(frozen=True, kw_only=True)
class CopySensitivities:
    """With J[j, k] = |E ∂(Σ_a t_ja)/∂e_k|, how the first layer's output at token j reacts to token k, means over j of

        own J[j, j],   next J[j, j+1],   previous J[j, j−1],   others J[j, k], k not among these

        strongest_neighbour_over_others = max(next, previous) / others

    The expectation is inside the norm, over prompts, so reactions that change sign with the prompt do not count.
    A copy x_j ← y_j shows in `next`, y_j ← x_j in `previous`: to the second layer either will do. `own` holds the
    residual stream. The reference is not asked.
    """

    numbers: ClassVar[tuple[str, ...]] = ("strongest_neighbour_over_others", "own", "next", "previous", "others")
    n_prompts: int = 2000

    def __post_init__(self) -> None:
        if self.n_prompts < 1:
            raise ValueError(f"n_prompts={self.n_prompts} must be >= 1")

    def suits(self, model: Any) -> None:
        """ConfigError unless the model has what is measured."""
        if not hasattr(model, "influence"):
            raise ConfigError(f"{type(model).__name__} has no first layer to look at (it has no `influence`)")

    def measure(self, model: Any, reference: Any, task: Any, draw: Draw) -> Measured:
        self.suits(model)
        J = model.influence(task.sample(self.n_prompts, draw).prompt).double()
        return Measured(
            numbers=sensitivities(J), curves={"by_distance": _by_distance(J)}, n_prompts=self.n_prompts
        )  # fmt: skip


def sensitivities(J: Float[Tensor, "M S S"]) -> dict[str, Float[Tensor, "M"]]:
    """The numbers of `CopySensitivities`."""
    place = torch.arange(J.shape[-1], device=J.device)
    distance = place - place[:, None]  # k − j
    found = {"own": J[:, distance == 0], "next": J[:, distance == 1], "previous": J[:, distance == -1]}
    means = {name: values.mean(1) for name, values in found.items()}
    means["others"] = J[:, distance.abs() > 1].mean(1)
    strongest = torch.maximum(means["next"], means["previous"])
    return {"strongest_neighbour_over_others": strongest / means["others"]} | means


def _by_distance(J: Float[Tensor, "M S S"]) -> Curve:
    size = J.shape[-1]
    distances = [k for k in range(1 - size, size) if k]
    means = torch.stack([J.diagonal(k, 1, 2).mean(1) for k in distances], 1)
    return Curve(
        kind="line", title="Which token the first layer looks at", x_label="place of the token, relative to its own",
        y_label="sensitivity", x=[float(k) for k in distances], model=means.tolist(),
        note="1 is the next token, −1 the one before; its own is left out",
    )  # fmt: skip
