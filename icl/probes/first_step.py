"""The matrix of a model's first step, from how its guess reacts to the query: is it a preconditioner, or does it turn?

References:
    von Oswald et al. 2022, Transformers learn in-context by gradient descent, arXiv:2212.07677 (sensitivities)
    Gatmiry et al. 2024, Can looped transformers learn to implement multi-step gradient descent?, arXiv:2410.08292
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from icl.comparisons.measured import Curve, Measured
from icl.comparisons.walk import n_members
from icl.core import Prompt
from icl.rng import Draw
from icl.runs import Run


@dataclass(frozen=True, kw_only=True)
class FirstStep:
    """A of  ∂ŷ_1/∂x_query ≈ A u,  u = (1/N) Σᵢ yᵢ xᵢ,  by least squares over `n_prompts` prompts.

    ŷ_1 is the guess after one step (loop, layer) of any predictor; a gradient step from w = 0 has A = ηΓ, and after L
    equal ones the error of the weights is (I − A S)^L w. Of the eigenvalues λ of A:

        step_size           mean Re λ
        angle               largest Im λ: 0 for every preconditioner, ω for βI + ωJ (icl.theory.rotation)
        turn                largest |Im λ| / |Re λ|
        angle_on_the_way    the largest angle at any snapshot of the training (that of the end without snapshots)
        unexplained         share of E |∂ŷ_1/∂x_query|² that A u leaves: 0 for linear layers, whatever their inputs do
    """

    numbers: ClassVar[tuple[str, ...]] = ("step_size", "angle", "turn", "angle_on_the_way", "unexplained")
    n_prompts: int = 2000

    def __post_init__(self) -> None:
        if self.n_prompts < 2:
            raise ValueError(f"n_prompts={self.n_prompts} must be >= 2")

    def measure_run(self, run: Run, draw: Draw) -> Measured:
        prompt = run.task.sample(self.n_prompts, draw).prompt
        if prompt.y.ndim != 3:
            raise ValueError("a first step is read from prompts with one number a label")
        A, unexplained = first_step(run.model, prompt)
        values = torch.linalg.eigvals(A)
        has_snapshots = run.folder.has("snapshots.safetensors")
        path = {step: first_step(model, prompt)[0] for step, model in run.snapshots()} if has_snapshots else {}
        angles = torch.stack([largest_angle(a) for a in (*path.values(), A)], 1)
        return Measured(
            numbers={
                "step_size": values.real.mean(1),
                "angle": angles[:, -1],
                "turn": (values.imag.abs() / values.real.abs()).amax(1),
                "angle_on_the_way": angles.amax(1),
                "unexplained": unexplained,
            },
            curves={"path": _path(list(path), angles[:, :-1], list(path.values()))} if path else {},
            n_prompts=self.n_prompts,
        )


def first_step(model: Any, prompt: Prompt) -> tuple[Float[Tensor, "M D D"], Float[Tensor, "M"]]:
    """(A, the share unexplained), float64."""
    prompt = prompt.expand(max(n_members(model), prompt.x.shape[0]))
    with torch.enable_grad():
        x_query = prompt.x_query.detach().clone().requires_grad_()
        guess = model(Prompt(prompt.x, prompt.y, x_query), steps=1)[1]
        reaction = torch.autograd.grad(guess.sum(), x_query)[0].double().cpu()
    u = (prompt.x * prompt.y[..., None]).double().mean(2).cpu()
    A = torch.linalg.solve(u.mT @ u, u.mT @ reaction).mT
    left = (reaction - u @ A.mT).square().sum((1, 2)) / reaction.square().sum((1, 2))
    return A, left


def largest_angle(A: Float[Tensor, "M D D"]) -> Float[Tensor, "M"]:
    """Largest imaginary part of an eigenvalue."""
    return torch.linalg.eigvals(A).imag.amax(1)


def _path(steps: list[int], angles: Float[Tensor, "M K"], matrices: list[Float[Tensor, "M D D"]]) -> Curve:
    sizes = torch.stack([A.diagonal(dim1=1, dim2=2).mean(1) for A in matrices], 1)
    return Curve(
        kind="line", title="The first step over training", x_label="training step", y_label="largest Im λ(A)",
        x=[float(step) for step in steps], model=angles.tolist(), reference=sizes.tolist(),
        reference_label="step size, tr A / D",
    )  # fmt: skip
