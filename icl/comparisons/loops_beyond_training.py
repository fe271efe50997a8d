"""A model whose layers are applied more often than it was trained for, and its error at every position.

References:
    Yang, Lee, Nowak, Papailiopoulos 2023, Looped transformers are better at learning learning algorithms,
    arXiv:2311.12424
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from icl.comparisons.measured import Curve, Measured
from icl.comparisons.walk import estimate, per_prompt
from icl.config import ConfigError
from icl.core import Sample, last_every_prefix
from icl.rng import Draw

MULTIPLES = (2, 3, 4)


@dataclass(frozen=True, kw_only=True)
class LoopsBeyondTraining:
    """E (ŷ_k − y)² / D after k passes of the layers, b of them trained (loops; 1 for an untied stack).

        mse_per_dim             at the query after b passes, D the dimension: 1 for the zero guess of w ~ N(0, I)
        reference_mse_per_dim   the reference there
        ratio_2, ratio_3, ratio_4   at the query after 2b, 3b and 4b passes, over that after b, same prompts

    Beside them the error over passes, and the error at every position against the reference on every prefix.
    """

    numbers: ClassVar[tuple[str, ...]] = (
        "mse_per_dim", "reference_mse_per_dim", *(f"ratio_{multiple}" for multiple in MULTIPLES)
    )  # fmt: skip
    n_prompts: int = 4000

    def __post_init__(self) -> None:
        if self.n_prompts < 1:
            raise ValueError(f"n_prompts={self.n_prompts} must be >= 1")

    def suits(self, model: Any) -> None:
        """ConfigError unless the model has what is measured."""
        if not hasattr(model, "passes"):
            raise ConfigError(f"{type(model).__name__} has no layers to apply again (a method `passes`)")

    def measure(self, model: Any, reference: Any, task: Any, draw: Draw) -> Measured:
        self.suits(model)
        every = replace(task, positions="every")
        values = per_prompt(_ask, model, reference, every, self.n_prompts, draw)
        values = {name: value / task.dim for name, value in values.items()}
        at_query = {
            "passes": values["passes"],
            "trained": values["positions"][-1],
            "reference": values["reference_positions"][-1],
        }
        numbers, intervals = estimate(at_query, lambda mean: _reduce(mean, model.n_passes), draw)
        curves = self._curves({name: value.double().mean(-1) for name, value in values.items()}, model.n_passes)
        return Measured(numbers=numbers, intervals=intervals, curves=curves, n_prompts=self.n_prompts)

    def _curves(self, mean: dict[str, Tensor], trained: int) -> dict[str, Curve]:
        n_passes, n_positions = mean["passes"].shape[0], mean["positions"].shape[0]
        return {
            "passes": Curve(
                kind="line", title="Error when the layers are applied more often than trained",
                x_label=f"passes (trained: {trained})", y_label="squared error at the query / D",
                x=[float(k) for k in range(1, n_passes + 1)], model=mean["passes"].T.tolist(),
                reference=mean["passes"][trained - 1].expand(n_passes, -1).T.tolist(),
                reference_label="after the trained passes", note=f"{self.n_prompts:,} prompts",
            ),
            "positions": Curve(
                kind="line", title="Error at every position", x_label="pairs before it",
                y_label="squared error / D", x=[float(i) for i in range(n_positions)],
                model=mean["positions"].T.tolist(), reference=mean["reference_positions"].T.tolist(),
                note=f"{self.n_prompts:,} prompts; {trained} passes, as trained",
            ),
        }  # fmt: skip


def _ask(model: Any, reference: Any, sample: Sample) -> dict[str, Tensor]:
    """Squared errors: at the query a pass, `"K #M B"`, and at every position, `"P #M B"`."""
    guesses = model.passes(*sample.prompt.positions(), max(MULTIPLES) * model.n_passes)

    def errors(guess: Float[Tensor, "#M B P"]) -> Float[Tensor, "P #M B"]:
        return (guess - sample.target).square().permute(2, 0, 1)

    return {
        "passes": (guesses[..., -1] - sample.target[..., -1]).square(),
        "positions": errors(guesses[model.n_passes - 1]),
        "reference_positions": errors(last_every_prefix(reference, sample.prompt)),
    }


def _reduce(mean: dict[str, Tensor], trained: int) -> dict[str, Tensor]:
    after = {multiple: mean["passes"][..., multiple * trained - 1, :] for multiple in MULTIPLES}
    ratios = {f"ratio_{multiple}": error / mean["trained"] for multiple, error in after.items()}
    return {"mse_per_dim": mean["trained"], "reference_mse_per_dim": mean["reference"], **ratios}
