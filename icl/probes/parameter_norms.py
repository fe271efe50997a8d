"""How large the weights are, and how far training took them from where they began."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from icl.comparisons.measured import Curve, Measured
from icl.rng import Draw
from icl.runs import Run


@dataclass(frozen=True, kw_only=True)
class ParameterNorms:
    """Euclidean norm of all parameters of a member, θ at the end and θ₀ at the first snapshot.

        norm        ‖θ‖
        distance    ‖θ − θ₀‖ / ‖θ₀‖, nan without snapshots

    The curve is ‖θ_t‖ at every snapshot.
    """

    numbers: ClassVar[tuple[str, ...]] = ("norm", "distance")

    def measure_run(self, run: Run, draw: Draw) -> Measured:
        last = flat(run.model)
        norm = last.norm(dim=1)
        if not run.folder.has("snapshots.safetensors"):
            return Measured(numbers={"norm": norm, "distance": torch.full_like(norm, torch.nan)})
        steps, states = zip(*((step, flat(model)) for step, model in run.snapshots()), strict=True)
        first, norms = states[0], torch.stack([state.norm(dim=1) for state in states], dim=1)
        curve = Curve(
            kind="line", title="How the weights grew", x_label="training step", y_label="norm of all parameters, ‖θ‖",
            x=steps, model=norms.tolist(),
        )  # fmt: skip
        return Measured(
            numbers={"norm": norm, "distance": (last - first).norm(dim=1) / first.norm(dim=1)},
            curves={"norm": curve},
        )


def flat(model: Any) -> Float[Tensor, "M F"]:
    """All parameters of every member as one row, in float64."""
    return torch.cat([p.detach().double().flatten(1) for p in model.parameters()], dim=1)
