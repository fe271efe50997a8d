"""How few random directions suffice to fine-tune a model: the intrinsic dimension d90, before and after training.

References:
    Li, Farkhoor, Liu, Yosinski 2018, Measuring the intrinsic dimension of objective landscapes, arXiv:1804.08838
    Aghajanyan, Zettlemoyer, Gupta 2020, Intrinsic dimensionality explains the effectiveness of language model
    fine-tuning, arXiv:2012.13255
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from icl.comparisons.measured import Curve, Measured
from icl.config.build import build_model
from icl.probes.loss_surface import LossSurface
from icl.probes.training_loss import as_double, objective_of, weights_at
from icl.rng import Draw
from icl.runs import Run

BETAS = (0.9, 0.99)
MOST = 5000  # parameters: the directions are stored, F x F numbers


@dataclass(frozen=True, kw_only=True)
class IntrinsicDimension:
    """Fine-tuning on `shift`ed prompts within θ = θ₀ + P z, P of d random orthonormal directions, z by Adam from 0.

    θ₀ is the trained model, or the model as training found it (step 0). A score is 1 − L / L(step 0), L on fresh
    shifted prompts; d90 the least of `dims`, F at their end, whose score is 90 % of the member's best of any
    dimension and either start, and F + 1 if there is none.

        d90_trained, d90_start;  fall = d90_start / max(d90_trained, 1)
        score_trained, score_start    with all directions;  score_0   of the trained model as it is

    `shift` changes fields of the run's task, such as {covariance_spectrum: [..]}. Every dimension of every member is a
    member of one bank. For models of at most a few thousand parameters.
    """

    numbers: ClassVar[tuple[str, ...]] = (
        "d90_trained", "d90_start", "fall", "score_trained", "score_start", "score_0",
    )  # fmt: skip
    shift: Mapping[str, Any] = field(default_factory=dict)
    dims: tuple[int, ...] | list[int] = (0, 1, 2, 4, 8, 16, 32, 64)
    steps: int = 300
    lr: float = 0.02
    n_prompts: int = 512

    def __post_init__(self) -> None:
        if not self.dims or sorted(set(self.dims)) != list(self.dims) or self.dims[0] < 0:
            raise ValueError(f"dims={list(self.dims)} must be one or more numbers >= 0, rising")
        if self.steps < 1 or self.n_prompts < 1 or not self.lr > 0:
            raise ValueError(f"steps={self.steps}, n_prompts={self.n_prompts}, lr={self.lr} must be >= 1, >= 1 and > 0")

    def measure_run(self, run: Run, draw: Draw) -> Measured:
        try:
            task = replace(run.task, **dict(self.shift))
        except TypeError as error:
            raise ValueError(f"shift={dict(self.shift)}: {str(error).split(') ')[-1]}") from None
        train, test = (as_double(task.sample(self.n_prompts, draw.at(i, f"{draw.name}/{i}"))) for i in (0, 1))
        states = weights_at(run, [0, run.config.train.steps])
        start, trained = states[0], states[max(states)]
        size = start.shape[1]
        if size > MOST:
            raise ValueError(f"{size} parameters a member are {size} x {size} directions; at most {MOST}")
        dims = [d for d in self.dims if d < size] + [size]
        baseline = LossSurface(run.model, objective_of(run), [test]).loss(start)
        scores = {}
        for name, theta in (("start", start), ("trained", trained)):
            loss = self._tuned(run, theta, dims, train, test, draw)
            scores[name] = 1 - loss / baseline[:, None]
        enough = 0.9 * torch.cat(list(scores.values()), 1).amax(1, keepdim=True)
        d90 = {name: _least(score >= enough, dims) for name, score in scores.items()}
        return Measured(
            numbers={
                "d90_trained": d90["trained"], "d90_start": d90["start"],
                "fall": d90["start"] / d90["trained"].clamp(min=1), "score_0": scores["trained"][:, 0],
                **{f"score_{name}": score[:, -1] for name, score in scores.items()},
            },
            curves={"scores": _curve(dims, scores["trained"], scores["start"])},
        )  # fmt: skip

    def _tuned(
        self, run: Run, theta: Float[Tensor, "M F"], dims: list[int], train: Any, test: Any, draw: Draw
    ) -> Float[Tensor, "M K"]:
        """Test losses after fine-tuning with each dimension."""
        (members, size), n = theta.shape, len(dims)
        gaussian = replace(draw, name=f"{draw.name}/directions", dtype=torch.float64, _generators=[]).normal(
            size, size
        )[0]
        P = torch.linalg.qr(gaussian)[0]
        bank = build_model(run.config, n_seeds=members * n, plugins=run.plugins)
        objective, origin = objective_of(run), theta.repeat_interleave(n, 0)
        free = (torch.arange(size) < torch.tensor(dims)[:, None]).to(theta).repeat(members, 1)
        surface, z = LossSurface(bank, objective, [train]), torch.zeros_like(origin)
        mean, square = torch.zeros_like(z), torch.zeros_like(z)
        for step in range(1, self.steps + 1):
            g = (surface.gradient(origin + z @ P.mT) @ P) * free
            mean.lerp_(g, 1 - BETAS[0])
            square.lerp_(g.square(), 1 - BETAS[1])
            update = mean / (1 - BETAS[0] ** step) / ((square / (1 - BETAS[1] ** step)).sqrt() + 1e-12)
            z = z - self.lr * (1 - (step - 1) / self.steps) * update
        return LossSurface(bank, objective, [test]).loss(origin + z @ P.mT).view(members, n)


def _least(enough: Tensor, dims: list[int]) -> Float[Tensor, "M"]:
    first = enough.double().argmax(1)
    found = torch.tensor(dims).double()[first]
    return torch.where(enough.any(1), found, float(dims[-1] + 1))


def _curve(dims: list[int], trained: Float[Tensor, "M K"], start: Float[Tensor, "M K"]) -> Curve:
    return Curve(
        kind="line", title="Fine-tuning in d random directions", x_label="directions, d", x=dims,
        y_label="1 − loss / loss before training", model=trained.tolist(), reference=start.tolist(),
        reference_label="from first values",
    )  # fmt: skip
