"""What a change of the model gains over all positions of a prompt, seed by seed, on the same prompts."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from icl.comparisons.measured import Curve, Measured
from icl.comparisons.walk import per_prompt
from icl.core import Sample, last_every_prefix
from icl.rng import Draw


@dataclass(frozen=True, kw_only=True)
class PairedGain:
    """1 − L_model / L_reference with L the mean squared error over positions, member m against member m.

        gain, last_gain    of all positions; of the last one, where the most pairs are known
        mse_per_dim, reference_mse_per_dim    the two losses over D
        gain_t             mean of the gains over their standard error over members, the same for all

    Both were trained from the same first values on the same prompts, so the pairs share most of their noise.
    """

    numbers: ClassVar[tuple[str, ...]] = ("gain", "last_gain", "mse_per_dim", "reference_mse_per_dim", "gain_t")
    n_prompts: int = 8192

    def __post_init__(self) -> None:
        if self.n_prompts < 1:
            raise ValueError(f"n_prompts={self.n_prompts} must be >= 1")

    def measure(self, model: Any, reference: Any, task: Any, draw: Draw) -> Measured:
        values = per_prompt(_errors, model, reference, task, self.n_prompts, draw)
        own, other = (values[name].double().mean(-1).T for name in ("model", "reference"))  # (M, P)
        gain = 1 - own.mean(1) / other.mean(1)
        spread = gain.std() / math.sqrt(len(gain)) if len(gain) > 1 else torch.tensor(torch.nan)
        return Measured(
            numbers={
                "gain": gain,
                "last_gain": 1 - own[:, -1] / other[:, -1],
                "mse_per_dim": own.mean(1) / task.dim,
                "reference_mse_per_dim": other.mean(1) / task.dim,
                "gain_t": (gain.mean() / spread).expand(len(gain)),
            },
            curves={"by_position": _curve(own / task.dim, other / task.dim)},
            n_prompts=self.n_prompts,
        )


def _errors(model: Any, reference: Any, sample: Sample) -> dict[str, Tensor]:
    """(ŷ_i − y_i)² at every position, "P M B"."""
    if sample.target.ndim != 3:
        raise ValueError("paired_gain needs a target at every position (task.positions=every)")
    asked = {"model": model, "reference": reference}
    squares = {name: (last_every_prefix(p, sample.prompt) - sample.target).square() for name, p in asked.items()}
    return {name: square.permute(2, 0, 1) for name, square in squares.items()}


def _curve(own: Float[Tensor, "M P"], other: Float[Tensor, "M P"]) -> Curve:
    return Curve(
        kind="line", title="Error by position", x_label="pairs known, i", y_label="mean squared error / D",
        x=list(range(own.shape[1])), model=own.tolist(), reference=other.tolist(), log_y=True,
    )  # fmt: skip
