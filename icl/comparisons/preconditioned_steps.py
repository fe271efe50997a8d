"""The layers of preconditioned attention as steps: how large, how near to the inverse covariance, how far from optimal.

References:
    Ahn et al. 2023, Transformers learn to implement preconditioned gradient descent, arXiv:2306.00297
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from icl.algorithms.spectra import mixing_of
from icl.algorithms.steps import each_step
from icl.comparisons.measured import Curve, Measured
from icl.comparisons.tied_matrix import covariances
from icl.comparisons.walk import estimate, per_prompt
from icl.config import ConfigError
from icl.core import Sample
from icl.rng import Draw


@dataclass(frozen=True, kw_only=True)
class PreconditionedSteps:
    """Layer l as the step η̃_l = Tᵀ η_l T in the basis z = T⁻¹ x in which the inputs are white, against a reference
    that is gradient descent with as many steps. η_l = β Σ⁻¹ is β I there.

        distance_to_identity   largest over layers of |η̃ − (tr η̃/D) I|_F / |η̃|_F
        largest_step_error     largest of |β_l − β*_l| / β*_l, both sorted (scalar steps commute), β_l = tr η̃_l / D
        smallest_step, largest_step   of the β_l
        paired_excess          E |R|²_F / E |R*|²_F − 1,   R = Π_l (I − η̃_lᵀ S), S the covariance of the same contexts

    |R|² is the squared error with w and the query averaged out. Its mean has heavy tails (at D = 5, N = 20 three
    steps leave 1.6 % of noise in 200,000 contexts), which the pair shares.
    """

    numbers: ClassVar[tuple[str, ...]] = (
        "paired_excess", "largest_step_error", "distance_to_identity", "smallest_step", "largest_step"
    )  # fmt: skip
    n_prompts: int = 50_000

    def __post_init__(self) -> None:
        if self.n_prompts < 1:
            raise ValueError(f"n_prompts={self.n_prompts} must be >= 1")

    def suits(self, model: Any) -> None:
        """ConfigError unless the model has what is measured."""
        check_steps(model)

    def measure(self, model: Any, reference: Any, task: Any, draw: Draw) -> Measured:
        T = mixing_of(task)
        learned = learned_steps(model, T)
        best = reference_steps(reference, learned.shape[1], T)[None]

        def ask(model: Any, reference: Any, sample: Sample) -> dict[str, Tensor]:
            S = covariances(sample, T)[0]
            return {"model": residual_norms(learned, S), "reference": residual_norms(best, S)}

        values = per_prompt(ask, model, reference, task, self.n_prompts, draw)
        numbers, intervals = estimate(values, _reduce, draw)
        sizes, best_sizes = (step_sizes(steps).sort(-1).values for steps in (learned, best))
        numbers |= {
            "largest_step_error": (sizes / best_sizes - 1).abs().amax(-1),
            "distance_to_identity": distance_to_identity(learned).amax(-1),
            "smallest_step": sizes[:, 0],
            "largest_step": sizes[:, -1],
        }
        curves = {"step_sizes": _sizes(sizes, best_sizes), "distances": _distances(distance_to_identity(learned))}
        return Measured(numbers=numbers, intervals=intervals, curves=curves, n_prompts=self.n_prompts)


def learned_steps(model: Any, T: Float[Tensor, "D D"]) -> Float[Tensor, "M L D D"]:
    """η̃_l of every layer, float64.

    Raises:
        ConfigError: the layers of the model are no steps (or an x-update moves the inputs between them).
    """
    check_steps(model)
    eta = model.step_matrices().detach().double().cpu()
    return (T.mT @ eta @ T).expand(-1, model.n_layers, -1, -1)


def check_steps(model: Any) -> None:
    """ConfigError unless every layer of the model is a preconditioned step."""
    if not hasattr(model, "step_matrices") or getattr(model, "x_update", False):
        raise ConfigError(f"{type(model).__name__} must be preconditioned attention with x_update=false here")


def reference_steps(reference: Any, n_layers: int, T: Float[Tensor, "D D"]) -> Float[Tensor, "L D D"]:
    """The same of gradient descent: Tᵀ η_l Γ_lᵀ T.

    Raises:
        ConfigError: it is something else, or makes another number of steps.
    """
    size, gamma = getattr(reference, "step_size", None), getattr(reference, "preconditioner", None)
    if size is None or getattr(reference, "steps", None) != n_layers:
        raise ConfigError(f"{type(reference).__name__} must be gradient descent of {n_layers} steps, as the model has")
    sizes = each_step("step_size", size, n_layers)
    gammas = each_step("preconditioner", torch.eye(len(T)) if gamma is None else gamma, n_layers)
    return torch.stack([size * T.mT @ gamma.to(T).mT @ T for size, gamma in zip(sizes, gammas, strict=True)])


def step_sizes(steps: Float[Tensor, "*batch D D"]) -> Float[Tensor, "*batch"]:
    """tr / D."""
    return steps.diagonal(dim1=-2, dim2=-1).mean(-1)


def distance_to_identity(steps: Float[Tensor, "*batch D D"]) -> Float[Tensor, "*batch"]:
    """|η̃ − (tr η̃/D) I|_F / |η̃|_F: 0 for a multiple of I, near 1 for a matrix without any."""
    scalar = step_sizes(steps)[..., None, None] * torch.eye(steps.shape[-1]).to(steps)
    return (steps - scalar).flatten(-2).norm(dim=-1) / steps.flatten(-2).norm(dim=-1)


def residual_norms(steps: Float[Tensor, "M L D D"], S: Float[Tensor, "B D D"]) -> Float[Tensor, "M B"]:
    """|Π_l (I − η̃_lᵀ S)|²_F of every context."""
    R = torch.eye(S.shape[-1]).to(S).expand(len(steps), len(S), -1, -1)
    for step in steps.unbind(1):
        R = R - step.mT[:, None] @ S @ R
    return R.square().sum((-2, -1))


def _reduce(mean: dict[str, Tensor]) -> dict[str, Tensor]:
    return {"paired_excess": mean["model"] / mean["reference"] - 1}


def _sizes(sizes: Float[Tensor, "M L"], best: Float[Tensor, "#M L"]) -> Curve:
    return Curve(
        kind="line", title="Step sizes of the layers, sorted", x_label="layer, in order of its step",
        y_label="step size, tr(Tᵀ η T) / D", x=[float(l) for l in range(1, sizes.shape[1] + 1)], model=sizes.tolist(),
        reference=best.tolist(),
        note="scalar steps commute, so their order over the layers is arbitrary",
    )  # fmt: skip


def _distances(distances: Float[Tensor, "M L"]) -> Curve:
    return Curve(
        kind="line", title="How far each layer is from a multiple of the identity", x_label="layer, l",
        y_label="|η̃ − (tr η̃/D) I| / |η̃|", x=[float(l) for l in range(1, distances.shape[1] + 1)],
        model=distances.tolist(), note="in the basis in which the inputs are white",
    )  # fmt: skip
