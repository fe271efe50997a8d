"""A looped layer that goes on looping: what the mean and what the median task gain beyond the trained depth.

References:
    Gatmiry et al. 2024, Can looped transformers learn to implement multi-step gradient descent?, arXiv:2410.08292
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from icl.algorithms.spectra import OwnBasis, mixing_of, own_basis
from icl.comparisons.measured import Curve, Measured
from icl.comparisons.tied_matrix import at, check_looped, covariances, own_matrix, own_reference
from icl.comparisons.walk import estimate, per_prompt
from icl.core import Sample
from icl.rng import Draw
from icl.theory.stability import unstable, warn_if_unstable

AHEAD = 2  # loops beyond the trained ones whose exact loss is a number


@dataclass(frozen=True, kw_only=True)
class LoopedOn:
    """The layer looped t = 1 .. times · L times, and the same of gradient descent with one constant step.

        mse_trained, mse_1, mse_2   exact mse of the learned scalar β = tr A / D after L, L + 1, L + 2 loops
        ratio_1, ratio_2            mse_1 and mse_2 over mse_trained: below 1 it still learns beyond its training
        least_mean_depth            the number of loops with the least exact mse, over L
        median_ratio_worst          max over t of median_{t+1} / median_t of the squared error: below 1 it falls
        unstable_share              share of the tasks on which the matrix itself diverges (icl.theory.stability)

    Errors are those of sampled queries. The mean diverges with the unstable tasks, the median does not; a share
    above 0.1 % is a warning. The exact losses need a task without noise whose own basis is isotropic.
    """

    numbers: ClassVar[tuple[str, ...]] = (
        "mse_trained", "mse_1", "mse_2", "ratio_1", "ratio_2", "least_mean_depth", "median_ratio_worst",
        "unstable_share",
    )  # fmt: skip
    times: int = 5
    n_prompts: int = 20_000

    def __post_init__(self) -> None:
        if self.n_prompts < 1 or self.times < 1:
            raise ValueError(f"n_prompts={self.n_prompts} and times={self.times} must be >= 1")

    def suits(self, model: Any) -> None:
        """ConfigError unless the model has what is measured."""
        check_looped(model)

    def measure(self, model: Any, reference: Any, task: Any, draw: Draw) -> Measured:
        A, T, basis = own_matrix(model, task), mixing_of(task), own_basis(task)
        other = own_reference(reference, T)[None]
        depth = max(self.times * model.n_layers, model.n_layers + AHEAD)

        def ask(model: Any, reference: Any, sample: Sample) -> dict[str, Tensor]:
            S = covariances(sample, T)[0]
            found = {name: squared_errors(a, sample, S, T, depth) for name, a in (("model", A), ("reference", other))}
            return found | {"unstable": unstable(A, S).double()}

        values = per_prompt(ask, model, reference, task, self.n_prompts, at(draw, "beyond"))
        numbers, intervals = estimate(
            {"unstable": values["unstable"]}, lambda mean: {"unstable_share": mean["unstable"]}, draw
        )
        share = numbers["unstable_share"]
        warn_if_unstable(share.max().item(), f"the layer looped beyond its {model.n_layers} loops")
        median = {name: values[name].median(-1).values for name in ("model", "reference")}
        fallen = median["model"][: self.times * model.n_layers]
        later = fallen[1:] / fallen[:-1]
        numbers["median_ratio_worst"] = later.amax(0) if len(later) else torch.full_like(share, float("nan"))
        exact = exact_mse(A.diagonal(dim1=1, dim2=2).mean(1), basis, depth)
        numbers |= of_scalar(exact, model.n_layers)
        return Measured(
            numbers=numbers, intervals=intervals, curves=self._curves(values, median, share, model.n_layers),
            n_prompts=self.n_prompts,
        )  # fmt: skip

    def _curves(
        self, values: dict[str, Tensor], median: dict[str, Tensor], share: Tensor, n_loops: int
    ) -> dict[str, Curve]:
        mean = {name: values[name].mean(-1) for name in median}
        note = f"{self.n_prompts:,} prompts; trained for {n_loops} loops; unstable on {100 * share.max():.2g} % of them"
        return {
            name.lower(): Curve(
                kind="line", title=f"{name} over tasks when the layer loops on", x_label="loops, t",
                y_label=f"{name.lower()} squared error", x=[float(t) for t in range(1, len(found["model"]) + 1)],
                model=found["model"].T.tolist(), reference=found["reference"].T.tolist(),
                reference_label="gradient descent", log_y=True, note=note,
            )
            for name, found in (("Mean", mean), ("Median", median))
        }  # fmt: skip


def squared_errors(
    A: Float[Tensor, "M D D"], sample: Sample, S: Float[Tensor, "B D D"], T: Float[Tensor, "D D"], depth: int
) -> Float[Tensor, "T M B"]:
    """(ŷ_t − ⟨w, x_query⟩)² after t = 1..depth loops: the error v − v_t of the weights in z is (I − A S)ᵗ v."""
    if sample.w_star is None:
        raise ValueError("the task has no w, as is needed here")
    error = (sample.w_star[0].double().cpu() @ T).expand(len(A), -1, -1)
    query = torch.linalg.solve(T, sample.prompt.x_query[0].double().cpu().mT).mT
    errors = []
    for _ in range(depth):
        error = error - torch.einsum("mde,bef,mbf->mbd", A, S, error)
        errors.append((error * query).sum(-1).square())
    return torch.stack(errors)


def exact_mse(step_sizes: Float[Tensor, "M"], basis: OwnBasis, depth: int) -> Float[Tensor, "T M"]:
    """variance · D · ∫ (1 − βλ)^(2t) for t = 1..depth."""
    shrunk = (1 - step_sizes[:, None].double() * basis.spectrum.eigenvalues).square()
    scale = basis.variance * len(basis.mixing)
    return torch.stack([scale * basis.spectrum.mean(shrunk**t) for t in range(1, depth + 1)])


def of_scalar(exact: Float[Tensor, "T M"], n_loops: int) -> dict[str, Float[Tensor, "M"]]:
    """The numbers of the exact losses."""
    trained, ahead = exact[n_loops - 1], {k: exact[n_loops - 1 + k] for k in range(1, AHEAD + 1)}
    return {
        "mse_trained": trained,
        **{f"mse_{k}": loss for k, loss in ahead.items()},
        **{f"ratio_{k}": loss / trained for k, loss in ahead.items()},
        "least_mean_depth": (exact.argmin(0) + 1).double() / n_loops,
    }
