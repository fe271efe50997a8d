"""Progressive sharpening and the edge of stability: the largest curvature of the training loss against 2/lr.

References:
    Cohen, Kaur, Li, Kolter, Talwalkar 2021, Gradient descent on neural networks typically occurs at the edge of
    stability, arXiv:2103.00065
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from icl.comparisons.measured import Curve, Measured
from icl.probes.eigenspaces import Method, largest
from icl.probes.training_loss import recipe, surface_of, weights_at
from icl.rng import Draw
from icl.runs import Run
from icl.training.optimizers import schedule_factor


@dataclass(frozen=True, kw_only=True)
class EdgeOfStability:
    """The sharpness λ₁(θ_t), the largest eigenvalue of the Hessian of the loss on the training set, at `steps`.

        rise             λ₁ at the last of `steps` over λ₁ at the first
        edge_mean        mean of λ₁ lr / 2 over the steps from `from_step` on: 1 at the edge of plain gradient descent
        centre_mean      the same at (θ_t + θ_{t+1}) / 2, θ_{t+1} the next step of plain gradient descent: iterates at
                         the edge swing to and fro with period 2, and this is the middle of the swing
        edge_last        λ₁ lr / 2 at the last of `steps`
        loss_increases   steps of the training (as logged) after which the loss was larger
        loss_ratio       loss at the last of `steps` over that at `loss_from`, by the log

    With train.n_batches=1 this is gradient descent on one fixed set and the edge a theorem's; with fresh prompts the
    loss is that of `n_prompts` of them, and with momentum or Adam the edge is elsewhere. Products with the Hessian
    only, up to 500 parameters also the exact one (`method`).
    """

    numbers: ClassVar[tuple[str, ...]] = (
        "rise", "edge_mean", "centre_mean", "edge_last", "loss_increases", "loss_ratio",
    )  # fmt: skip
    steps: tuple[int, ...] | list[int]
    from_step: int = 0
    loss_from: int = 0
    n_prompts: int = 1000
    method: Method = "auto"

    def __post_init__(self) -> None:
        if not self.steps or sorted(set(self.steps)) != list(self.steps):
            raise ValueError(f"steps={list(self.steps)} must be one or more steps, rising")
        if not 0 <= self.from_step <= self.steps[-1]:
            raise ValueError(f"from_step={self.from_step} must be in 0..{self.steps[-1]}, the last of steps")

    def measure_run(self, run: Run, draw: Draw) -> Measured:
        surface, train = surface_of(run, self.n_prompts, draw), recipe(run)
        weights = weights_at(run, self.steps)
        rates = train.lr * torch.tensor([schedule_factor(train, max(step - 1, 0)) for step in weights]).double()
        thetas = list(weights.values())
        centres = [w - lr / 2 * surface.gradient(w) for w, lr in zip(thetas, rates.to(thetas[0]), strict=True)]
        sharpness, at_centre = (
            torch.stack([largest(surface, w, 1, self.method)[0][:, 0] for w in where], 1) for where in (thetas, centres)
        )
        rates = rates.to(sharpness)
        edge = sharpness * rates / 2
        late = torch.tensor([step >= min(self.from_step, max(weights)) for step in weights])
        at, loss = logged(run)
        last, first = (int((at <= step).sum()) - 1 for step in (max(weights), self.loss_from))
        return Measured(
            numbers={
                "rise": sharpness[:, -1] / sharpness[:, 0],
                "edge_mean": edge[:, late].mean(1),
                "centre_mean": (at_centre * rates / 2)[:, late].mean(1),
                "edge_last": edge[:, -1],
                "loss_increases": (loss[:, 1:] > loss[:, :-1]).sum(1).double(),
                "loss_ratio": loss[:, last] / loss[:, first],
            },
            curves={
                "sharpness": _curve(list(weights), sharpness, 2 / rates),
                "centre": _curve(list(weights), at_centre, 2 / rates, " at the centre of the swing"),
            },
        )


def logged(run: Run) -> tuple[Tensor, Float[Tensor, "M K"]]:
    """(steps, training loss of every member at them), from the run's record."""
    rows: list[dict[str, Any]] = run.metrics
    if not rows:
        raise ValueError("the run kept no record of its loss (metrics.jsonl)")
    loss = torch.tensor([[float("nan") if v is None else v for v in row["loss"]] for row in rows], dtype=torch.float64)
    return torch.tensor([row["step"] for row in rows]), loss.T


def _curve(steps: list[int], sharpness: Float[Tensor, "M K"], edge: Float[Tensor, "K"], where: str = "") -> Curve:
    return Curve(
        kind="line", title=f"Sharpness over training{where}", x_label="training step",
        y_label="largest eigenvalue of the Hessian",
        x=steps, model=sharpness.tolist(), reference=[edge.tolist()], reference_label="2 / lr", log_y=True,
    )  # fmt: skip
