"""What a looped layer has learned: its one matrix against the best multiple of the identity, and a symmetric control.

References:
    Gatmiry et al. 2024, Can looped transformers learn to implement multi-step gradient descent?, arXiv:2410.08292
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from icl.algorithms.spectra import mixing_of, own_basis
from icl.comparisons.interpolated_weights import constant_step
from icl.comparisons.measured import Curve, Measured
from icl.comparisons.walk import estimate, per_prompt
from icl.config import ConfigError
from icl.core import Sample
from icl.rng import Draw
from icl.theory.residual_polynomials import best_tied_step
from icl.theory.rotation import curvature, empirical_covariances, residual_norms
from icl.theory.rotation_fits import best_tied_matrix, gain_of

QUANTILES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999)


@dataclass(frozen=True, kw_only=True)
class TiedMatrix:
    """A = Tᵀ ηᵀ T of a looped layer, x = T z, so that its residual is (I − A S)^L with S of the z.

    Losses are ‖(I − A S)^L‖², the mse of a prompt's inputs with w and the query integrated out, on the same S:

        loss_ratio           of A over that of the reference, a gradient descent with one constant step (βI)
        gain, gain_t         1 − loss_ratio, and the t of the paired difference
        gain_over_symmetric, its t   over the best symmetric matrix, by L-BFGS on `n_fit` other S
        its least, its spread        over `n_draws` draws, each with a control of its own: rare tasks carry the means;
                             the spread is the largest minus the least. All other numbers are of all draws together
        gain_over_own        over (A + Aᵀ)/2
        median_gain          1 − median / median, against the reference

    And of the matrix itself: mean_diagonal, and step_size_ratio over the exact best β; angle_least, angle_largest,
    the imaginary parts of the ⌊D/2⌋ pairs of eigenvalues; rotation_share ‖A − Aᵀ‖/2‖A‖; distance_to_scalar
    ‖A − (tr A/D) I‖/‖A‖, and symmetric_distance, that of (A + Aᵀ)/2. `curvature` is exact and the same for every
    member: negative where the best scalar is a saddle along rotations (icl.theory.rotation; nan if not Gaussian).
    """

    numbers: ClassVar[tuple[str, ...]] = (
        "loss_ratio", "gain", "gain_t", "gain_over_symmetric", "gain_over_symmetric_t",
        "gain_over_symmetric_least", "gain_over_symmetric_spread", "gain_over_own", "median_gain", "mean_diagonal",
        "step_size_ratio", "angle_least", "angle_largest", "rotation_share", "distance_to_scalar",
        "symmetric_distance", "curvature",
    )  # fmt: skip
    n_prompts: int = 100_000
    n_fit: int = 20_000
    n_draws: int = 1

    def __post_init__(self) -> None:
        if self.n_prompts < 2 or self.n_fit < 1:
            raise ValueError(f"n_prompts={self.n_prompts} must be >= 2 and n_fit={self.n_fit} >= 1")
        if self.n_draws < 1:
            raise ValueError(f"n_draws={self.n_draws} must be >= 1")

    def suits(self, model: Any) -> None:
        """ConfigError unless the model has what is measured."""
        check_looped(model)

    def measure(self, model: Any, reference: Any, task: Any, draw: Draw) -> Measured:
        A, n_loops, T = own_matrix(model, task), model.n_layers, mixing_of(task)
        scalar = own_reference(reference, T)
        matrices = {"model": A, "own": (A + A.mT) / 2, "scalar": scalar[None]}

        def ask(model: Any, reference: Any, sample: Sample) -> dict[str, Tensor]:
            S = covariances(sample, T)[0]
            return {name: residual_norms(matrix, S, n_loops) for name, matrix in matrices.items()}

        parts = []
        for i in range(self.n_draws):
            own = f"/{i}" if i else ""
            matrices["symmetric"] = self._control(task, T, (scalar + scalar.mT) / 2, n_loops, at(draw, f"fit{own}"))
            parts.append(per_prompt(ask, model, reference, task, self.n_prompts, at(draw, f"judge{own}")))
        values = {name: torch.cat([part[name] for part in parts], -1) for name in parts[0]}
        numbers, intervals = estimate(values, _reduce, draw)
        gains = torch.stack([1 - part["model"].mean(-1) / part["symmetric"].mean(-1) for part in parts])
        numbers["gain_over_symmetric_least"] = gains.amin(0)
        numbers["gain_over_symmetric_spread"] = gains.amax(0) - gains.amin(0)
        median = {name: v.median(-1).values for name, v in values.items()}
        numbers["median_gain"] = 1 - median["model"] / median["scalar"]
        for name, other in (("gain_t", "scalar"), ("gain_over_symmetric_t", "symmetric")):
            numbers[name] = torch.tensor([gain_of(loss, values[other][0]).t for loss in values["model"]])
        numbers |= of_matrix(A, task, n_loops)
        curves = {"quantiles": _quantiles(values, n_loops)}
        n_prompts = self.n_draws * self.n_prompts
        return Measured(numbers=numbers, intervals=intervals, curves=curves, n_prompts=n_prompts)

    def _control(
        self, task: Any, T: Float[Tensor, "D D"], start: Float[Tensor, "D D"], n_loops: int, draw: Draw
    ) -> Float[Tensor, "1 D D"]:
        """The best symmetric matrix on covariances of this draw."""
        n_fit = min(self.n_fit, 10 * self.n_prompts)  # a quick look is quick
        S = covariances(task.sample(n_fit, draw), T)[0]
        return best_tied_matrix(S, n_loops, start=start, symmetric=True)[None]


def of_matrix(A: Float[Tensor, "M D D"], task: Any, n_loops: int) -> dict[str, Float[Tensor, "M"]]:
    """The numbers that ask no prompts."""
    M, dim = A.shape[:2]
    identity, norm = torch.eye(dim).to(A), A.flatten(1).norm(dim=1)
    size, symmetric = A.diagonal(dim1=1, dim2=2).mean(1), (A + A.mT) / 2
    away = (A - size[:, None, None] * identity).flatten(1).norm(dim=1)
    bent = (symmetric - size[:, None, None] * identity).flatten(1).norm(dim=1)
    angles = torch.linalg.eigvals(A).imag.sort(dim=1, descending=True).values[:, : dim // 2]
    angles = angles if dim > 1 else A.new_zeros(M, 1)
    bends = task.inputs == "gaussian" and dim > 1
    return {
        "mean_diagonal": size,
        "step_size_ratio": size / best_tied_step(own_basis(task).spectrum, n_loops).step_size,
        "angle_least": angles[:, -1],
        "angle_largest": angles[:, 0],
        "rotation_share": (A - A.mT).flatten(1).norm(dim=1) / (2 * norm),
        "distance_to_scalar": away / norm,
        "symmetric_distance": bent / symmetric.flatten(1).norm(dim=1),
        "curvature": A.new_full((1,), curvature(task.n_context, dim, n_loops) if bends else float("nan")),
    }


def own_matrix(model: Any, task: Any) -> Float[Tensor, "M D D"]:
    """A = Tᵀ ηᵀ T in the coordinates in which inputs are white, float64.

    Raises:
        ConfigError: the model is no looped (tied) layer of preconditioned attention without x-update.
    """
    check_looped(model)
    T = mixing_of(task)
    return T.mT @ model.step_matrices()[:, 0].detach().double().cpu().mT @ T


def check_looped(model: Any) -> None:
    """ConfigError unless the model is one preconditioned step in a loop."""
    tied = hasattr(model, "step_matrices") and model.step_matrices().shape[1] == 1
    if not tied or getattr(model, "x_update", False):
        raise ConfigError(f"{type(model).__name__} must be preconditioned attention, tied=true and x_update=false")


def own_reference(reference: Any, T: Float[Tensor, "D D"]) -> Float[Tensor, "D D"]:
    """The same of gradient descent with one constant step: w ← w + η Γ Σᵢ rᵢ xᵢ / N. ConfigError if it is not."""
    step_size, preconditioner = constant_step(reference)
    gamma = torch.eye(len(T)).to(T) if preconditioner is None else preconditioner.to(T)
    return step_size * T.mT @ gamma @ T


def covariances(sample: Sample, T: Float[Tensor, "D D"]) -> Float[Tensor, "#M B D D"]:
    """S = ZᵀZ/N of z = T⁻¹ x, float64."""
    return empirical_covariances(torch.linalg.solve(T, sample.prompt.x.double().cpu().mT).mT)


def at(draw: Draw, what: str) -> Draw:
    """A stream of its own beside the draw's."""
    return draw.at(0, f"{draw.name}/{what}")


def _reduce(mean: dict[str, Tensor]) -> dict[str, Tensor]:
    ratio = mean["model"] / mean["scalar"]
    return {
        "loss_ratio": ratio,
        "gain": 1 - ratio,
        "gain_over_symmetric": 1 - mean["model"] / mean["symmetric"],
        "gain_over_own": 1 - mean["model"] / mean["own"],
    }


def _quantiles(values: dict[str, Float[Tensor, "#M B"]], n_loops: int) -> Curve:
    level = torch.tensor(QUANTILES, dtype=torch.float64)
    model, scalar = (torch.quantile(values[name].double(), level, dim=-1).T for name in ("model", "scalar"))
    return Curve(
        kind="line", title=f"Easy and hard tasks after {n_loops} loops", x_label="quantile over tasks",
        y_label="mse given the inputs", x=list(QUANTILES), model=model.tolist(),
        reference=scalar.tolist(), reference_label="gradient descent", log_y=True,
    )  # fmt: skip
