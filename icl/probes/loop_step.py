"""The step that a loop takes, whatever the model: one matrix between what is left of w* before it and after it.

References:
    Gatmiry et al. 2024, Can looped transformers learn to implement multi-step gradient descent?, arXiv:2410.08292
    (a looped linear layer: e ← (I − A S) e); that A may rotate is ours (icl/theory/rotation.py)
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from icl.comparisons.measured import Curve, Measured
from icl.comparisons.walk import n_members
from icl.config import ConfigError
from icl.core import Prompt
from icl.rng import Draw

PROMPTS_AT_ONCE = 1000


@dataclass(frozen=True, kw_only=True)
class LoopStep:
    """A context X is asked many questions (w, x_query), with y = X w. After t steps the guess is, at its best,

        ŷ_t ≈ x_queryᵀ (I − R_t) w,      R_0 = I,      R_t − R_{t+1} ≈ A S R_t,      S = XᵀX/N.

    R_t is fitted to the questions of a context, A to the R of half of the contexts. A looped linear layer, or gradient
    descent that A preconditions, obeys both exactly. Of the change of R, on the other half of the contexts:

        scalar, symmetric, matrix   the share that is explained by A = aI, A = Aᵀ, any A, another for every step
        one_symmetric, one_matrix   by one A for all steps
        rotation_gain, one_rotation_gain   what a matrix explains more than a symmetric one
        turn     |Im λ| / |Re λ| of the one A, the largest: 0 for a preconditioner, 0.5 for the best rotation
                 at D = 5, N = 20 and four loops
        linear   1 − E (ŷ − x_queryᵀ (I − R) w)² / E ŷ² after the last step
    """

    numbers: ClassVar[tuple[str, ...]] = (
        "scalar", "symmetric", "matrix", "one_symmetric", "one_matrix", "rotation_gain", "one_rotation_gain", "turn",
        "linear",
    )  # fmt: skip
    n_contexts: int = 100
    n_questions: int = 100

    def __post_init__(self) -> None:
        if self.n_contexts < 2 or self.n_questions < 2:
            raise ValueError(f"n_contexts={self.n_contexts} and n_questions={self.n_questions} must be >= 2")

    def measure(self, model: Any, task: Any, draw: Draw) -> Measured:
        if self.n_questions <= task.dim**2:
            raise ConfigError(f"n_questions={self.n_questions} must be > {task.dim**2}, the entries of a matrix R")
        prompt, w = self._questions(task, draw)
        guesses = _trajectory(model, prompt).unflatten(-1, w.shape[:2])
        if len(guesses) < 2:
            raise ConfigError(f"{type(model).__name__} takes no step that could be measured")
        R, linear = remainders(guesses, prompt.x_query[0].double().cpu().view(w.shape), w)
        X = prompt.x[0, :: self.n_questions].double().cpu()
        S = X.mT @ X / X.shape[1]
        fit, judge = (Moments.of(R[:, :, half::2], S[half::2]) for half in range(2))
        own = {"scalar": fit.scalar(), "symmetric": fit.symmetric(), "matrix": fit.matrix()}
        one = {"one_symmetric": fit.summed().symmetric(), "one_matrix": fit.summed().matrix()}
        numbers = {name: judge.explained(A) for name, A in (own | one).items()}
        numbers["rotation_gain"] = numbers["matrix"] - numbers["symmetric"]
        numbers["one_rotation_gain"] = numbers["one_matrix"] - numbers["one_symmetric"]
        eigenvalues = torch.linalg.eigvals(one["one_matrix"][0])
        numbers |= {"turn": (eigenvalues.imag.abs() / eigenvalues.real.abs()).amax(-1), "linear": linear}
        numbers = {name: value.expand(n_members(model)) for name, value in numbers.items()}
        curves = {"steps": self._curve(judge, own)}
        return Measured(numbers=numbers, curves=curves, n_prompts=self.n_contexts * self.n_questions)

    def _curve(self, judge: "Moments", own: dict[str, Tensor]) -> Curve:
        share = {name: judge.explained_by_step(A).T.tolist() for name, A in own.items()}
        return Curve(
            kind="line", title="What one matrix explains of a step", x_label="step", y_label="share of the change",
            x=[float(t + 1) for t in range(len(own["matrix"]))], model=share["matrix"], model_label="any matrix",
            reference=share["scalar"], reference_label="a multiple of I",
            note=f"{self.n_contexts} contexts with {self.n_questions} questions each",
        )  # fmt: skip

    def _questions(self, task: Any, draw: Draw) -> tuple[Prompt, Float[Tensor, "K Q D"]]:
        """The contexts of the first K prompts, each with the w and the query of Q prompts."""
        shape = self.n_contexts, self.n_questions
        sample = task.sample(self.n_contexts * self.n_questions, draw)
        if sample.w_star is None or sample.w_star.ndim != 3:
            raise ConfigError("a loop's step needs a task with one w* a prompt (target=linear)")
        w = sample.w_star[0]
        x = sample.prompt.x[0, : self.n_contexts].repeat_interleave(self.n_questions, dim=0)
        prompt = Prompt(x[None], torch.einsum("bnd,bd->bn", x, w)[None], sample.prompt.x_query)
        return prompt, w.double().cpu().unflatten(0, shape)


class Moments(NamedTuple):
    """Sums over contexts, for every step and member, of Δ = R_t − R_{t+1} and Z = S R_t: of Δ Zᵀ, Z Zᵀ and ‖Δ‖²."""

    cross: Float[Tensor, "L M D D"]
    gram: Float[Tensor, "L M D D"]
    size: Float[Tensor, "L M"]

    @classmethod
    def of(cls, R: Float[Tensor, "T M K D D"], S: Float[Tensor, "K D D"]) -> "Moments":
        change, before = R[:-1] - R[1:], S @ R[:-1]
        sums = ((change @ before.mT).sum(2), (before @ before.mT).sum(2))
        return cls(*sums, change.square().sum((2, 3, 4)))

    def summed(self) -> "Moments":
        """Over steps, of which one is left."""
        return Moments(*(t.sum(0, keepdim=True) for t in self))

    def matrix(self) -> Float[Tensor, "L M D D"]:
        """argmin Σ ‖Δ − A Z‖²."""
        return torch.linalg.solve(self.gram, self.cross, left=False)

    def symmetric(self) -> Float[Tensor, "L M D D"]:
        """The same over A = Aᵀ: A G + G A = C + Cᵀ, solved in the eigenbasis of G."""
        values, U = torch.linalg.eigh(self.gram)
        right = U.mT @ (self.cross + self.cross.mT) @ U
        return U @ (right / (values[..., :, None] + values[..., None, :])) @ U.mT

    def scalar(self) -> Float[Tensor, "L M D D"]:
        """The same over A = aI."""
        traces = [t.diagonal(dim1=-2, dim2=-1).sum(-1) for t in (self.cross, self.gram)]
        return (traces[0] / traces[1])[..., None, None] * torch.eye(self.cross.shape[-1]).to(self.cross)

    def left(self, A: Float[Tensor, "#L M D D"]) -> Float[Tensor, "L M"]:
        """Σ ‖Δ − A Z‖² = Σ ‖Δ‖² − 2 ⟨A, C⟩ + ⟨A, A G⟩."""
        return self.size - 2 * (A * self.cross).sum((-2, -1)) + (A * (A @ self.gram)).sum((-2, -1))

    def explained(self, A: Float[Tensor, "#L M D D"]) -> Float[Tensor, "M"]:
        """The share of all steps together."""
        return 1 - self.left(A).sum(0) / self.size.sum(0)

    def explained_by_step(self, A: Float[Tensor, "#L M D D"]) -> Float[Tensor, "L M"]:
        return 1 - self.left(A) / self.size


def remainders(
    guesses: Float[Tensor, "T M K Q"], x_query: Float[Tensor, "K Q D"], w: Float[Tensor, "K Q D"]
) -> tuple[Float[Tensor, "T M K D D"], Float[Tensor, "M"]]:
    """R_t of every context, with R_0 = I, and the share of the last guess that x_queryᵀ (I − R) w explains.

    What is left is divided by the Q − D² questions that D² fitted numbers leave free.
    """
    n_questions, dim = w.shape[1:]
    forms = (x_query[..., :, None] * w[..., None, :]).flatten(-2)  # (K, Q, D²)
    answers = guesses.permute(2, 3, 0, 1).flatten(2)  # (K, Q, T M)
    found = torch.linalg.lstsq(forms, answers).solution
    M = found.permute(2, 0, 1).unflatten(-1, (dim, dim)).unflatten(0, guesses.shape[:2])
    R = torch.eye(dim).to(M) - M
    left = (answers - forms @ found).square().sum((0, 1)).view(guesses.shape[:2])[-1]
    share = left / (n_questions - dim**2) * n_questions / guesses[-1].square().sum((1, 2))
    return R, 1 - share


def _trajectory(model: Any, prompt: Prompt) -> Float[Tensor, "T M B"]:
    """The guesses after every step, float64 on the CPU, a thousand prompts at a time."""
    size = prompt.x.shape[1]
    with torch.no_grad():
        parts = [model(prompt.chunk(i, i + PROMPTS_AT_ONCE)) for i in range(0, size, PROMPTS_AT_ONCE)]
    return torch.cat([part.double().cpu() for part in parts], dim=-1)
