"""Which step of an algorithm is each step of a model? The step number and the step size that explain it best.

References:
    von Oswald et al. 2022, Transformers learn in-context by gradient descent, arXiv:2212.07677
    Ahn et al. 2023, Transformers learn to implement preconditioned gradient descent, arXiv:2306.00297
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from icl.comparisons.measured import Curve, Measured
from icl.comparisons.walk import chunks, half_squared_error, n_members
from icl.core import Sample
from icl.rng import Draw


@dataclass(frozen=True, kw_only=True)
class StepMatching:
    """For every step t = 1..T of the model the step k of the reference and the factor c of its step size with

        residual_t = min over k, c of  E (ŷ_t,model − ŷ_k,c)² / E ŷ_t,model²

    the share of the guess that the best match leaves unexplained: 0 for the same predictor, 1 for one that says
    nothing about it (k = 0 is the prior guess 0). c is one of `factors`, and 1 for a reference without a step size; k
    goes up to twice T, or as far as the reference has steps. As claims:

        residual, matched_step, matched_factor   of the last step
        largest_residual                         over t; a layer inside a stack need not be an iterate of anything
    """

    numbers: ClassVar[tuple[str, ...]] = ("residual", "matched_step", "matched_factor", "largest_residual")
    factors: Sequence[float] = tuple(1.05**i for i in range(-28, 29))
    n_prompts: int = 5_000

    def __post_init__(self) -> None:
        if self.n_prompts < 1:
            raise ValueError(f"n_prompts={self.n_prompts} must be >= 1")
        if not self.factors or not all(0 < factor < math.inf for factor in self.factors):
            raise ValueError(f"factors={list(self.factors)} must be finite numbers > 0, at least one")

    def measure(self, model: Any, reference: Any, task: Any, draw: Draw) -> Measured:
        candidates = scaled(reference, self.factors)
        sums: dict[str, Tensor] = {}
        with torch.no_grad():
            for sample in chunks(task, self.n_prompts, max(n_members(model), n_members(reference)), draw):
                for name, value in moments(model, [c for _, c in candidates], sample).items():
                    sums[name] = sums.get(name, torch.zeros(()).double()) + value
        left = sums["distance"] / sums["size"][:, None, None]  # (T, C, K, #M)
        n_steps = left.shape[2]
        residual, best = left.flatten(1, 2).min(1)  # (T, #M)
        step = (best % n_steps).double()
        factor = torch.tensor([c for c, _ in candidates], dtype=torch.float64)[best // n_steps]
        numbers = {
            "residual": residual[-1],
            "matched_step": step[-1],
            "matched_factor": factor[-1],
            "largest_residual": residual.amax(0),
        }
        curves = self._curves(residual, step, factor) | self._losses(sums, [c for c, _ in candidates])
        return Measured(numbers=numbers, curves=curves, n_prompts=self.n_prompts)

    def _curves(self, residual: Tensor, step: Tensor, factor: Tensor) -> dict[str, Curve]:
        t = [float(i) for i in range(1, len(residual) + 1)]
        note = f"{self.n_prompts:,} prompts"
        return {
            "residual": Curve(
                kind="line", title="What the best match leaves unexplained", x_label="step of the model, t",
                y_label="share of E ŷ²", x=t, model=residual.T.tolist(), log_y=True, note=note,
            ),
            "matched_step": Curve(
                kind="line", title="The step that explains it best", x_label="step of the model, t",
                y_label="step of the reference, k", x=t, model=step.T.tolist(), reference=[t],
                reference_label="the same step", note=note,
            ),
            "matched_factor": Curve(
                kind="line", title="At this multiple of its step size", x_label="step of the model, t",
                y_label="factor of the step size", x=t, model=factor.T.tolist(), reference=[[1.0] * len(t)],
                reference_label="the reference's own", note=note,
            ),
        }  # fmt: skip

    def _losses(self, sums: dict[str, Tensor], factors: Sequence[float]) -> dict[str, Curve]:
        """The mean loss after every step, where the reference has as many; its step size is its own."""
        model, reference = (sums[name] / self.n_prompts for name in ("model_loss", "reference_loss"))
        reference = reference[min(range(len(factors)), key=lambda i: abs(factors[i] - 1))]
        if len(reference) < len(model):
            return {}
        return {
            "loss": Curve(
                kind="line", title="Loss after every step", x_label="step, t", y_label="half MSE", log_y=True,
                x=[float(t) for t in range(len(model))], model=model.T.tolist(),
                reference=reference[: len(model)].T.tolist(), note=f"means over {self.n_prompts:,} prompts",
            )
        }  # fmt: skip


def scaled(reference: Any, factors: Sequence[float]) -> list[tuple[float, Any]]:
    """(c, the reference with c times its step sizes) for every factor; (1, itself) if it has none."""
    size = getattr(reference, "step_size", None)
    if not dataclasses.is_dataclass(reference) or isinstance(reference, type) or size is None:
        return [(1.0, reference)]
    scale = (lambda c: [c * s for s in size]) if isinstance(size, Sequence) else (lambda c: c * size)
    return [(c, dataclasses.replace(reference, step_size=scale(c))) for c in factors]


def farther(reference: Any, steps: int) -> int | None:
    """How many steps to ask of a reference: `steps` if it goes on, else None, its own."""
    goes_on = isinstance(getattr(reference, "steps", None), int)
    return steps if goes_on and not isinstance(getattr(reference, "step_size", None), Sequence) else None


def moments(model: Any, candidates: Sequence[Any], sample: Sample) -> dict[str, Float[Tensor, "..."]]:
    """Sums over the prompts, float64: distance (T, C, K, M), size (T, M), losses (T + 1, M) and (C, K, #M)."""
    mine = model(sample.prompt).double()
    theirs = [c(sample.prompt, steps=farther(c, 2 * (len(mine) - 1))).double() for c in candidates]
    flat = mine[1:].flatten(2)
    distance = [torch.stack([_squares(flat - guess) for guess in c.flatten(2)]) for c in theirs]
    target = sample.target.double()
    return {
        "distance": torch.stack(distance).permute(2, 0, 1, 3).cpu(),
        "size": _squares(flat).cpu(),
        "model_loss": half_squared_error(mine, target).sum(-1).cpu(),
        "reference_loss": torch.stack([half_squared_error(c, target).sum(-1) for c in theirs]).cpu(),
    }


def _squares(guess: Float[Tensor, "*T M B"]) -> Float[Tensor, "*T M"]:
    return guess.square().sum(-1)
