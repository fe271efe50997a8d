"""Whether low-rank adapters find the singular space of the first full gradient; and a model's own step beside it.

References:
    Zhang, Liu, Chen 2025, LoRA-One: one-step full gradient could suffice for fine-tuning, arXiv:2502.01235
    von Oswald et al. 2022, arXiv:2212.07677 (one layer of linear attention is that gradient step)
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from icl.algorithms.lora import moments
from icl.comparisons.measured import Curve, Measured
from icl.core import Prompt, last_step
from icl.rng import Draw

LATE = 100


@dataclass(frozen=True, kw_only=True)
class AdapterAlignment:
    """Adapters (A_t, B_t) that fine-tune a linear map on each of `n_prompts` contexts; G is its first full gradient.

        share_least        |B_t V_rᵀ|² / |B_t|², V_r the top right singular vectors of G: the least over prompts and all
                           t = 1..steps;  share_first, share_100: at t = 1 and at t = 100
        left_share         the same of A_t at t = 20, in the left space
        spectral_start     excess loss at the start of `spectral` over that at zero adapters, the largest over prompts
        spectral_over_lora excess of `spectral` at step 20 over the best of `adapter` by `init_scales`, the largest
        icl_cosine         of −G and the map that the model itself applies to its query, mean over prompts

    Excess is over the least squares of the same context. All is float64, but for the model's map, which is read off its
    answers to the D unit queries. `adapter` and `spectral` are algorithms with `adapters(prompt)`.
    """

    numbers: ClassVar[tuple[str, ...]] = (
        "share_least", "share_first", "share_100", "left_share", "spectral_start", "spectral_over_lora", "icl_cosine",
    )  # fmt: skip
    adapter: Any
    spectral: Any
    init_scales: tuple[float, ...] | list[float] = (0.01, 0.2)
    n_prompts: int = 16

    def __post_init__(self) -> None:
        for name in ("adapter", "spectral"):
            if not hasattr(getattr(self, name), "adapters"):
                raise ValueError(f"{name}={type(getattr(self, name)).__name__} has no adapters (lora, lora_one have)")
        if self.n_prompts < 1 or not self.init_scales:
            raise ValueError(f"n_prompts={self.n_prompts} must be >= 1, and init_scales one or more numbers")

    def measure(self, model: Any, task: Any, draw: Draw) -> Measured:
        if getattr(model, "n_outputs", None) is None:
            raise ValueError(
                f"{type(model).__name__} answers with one number: a model with n_outputs has a map to adapt"
            )
        prompt = task.sample(self.n_prompts, replace(draw, dtype=torch.float64, _generators=[])).prompt
        C, XY = moments(prompt)
        U, _, V = torch.linalg.svd(-XY, full_matrices=False)
        A, B = self.adapter.adapters(prompt)
        r = B.shape[-2]
        right, left = within(B[1:].mT, V[..., :r, :].mT), within(A[1:], U[..., :r])
        spectral = excess(self.spectral.adapters(prompt, steps=21), C, XY)
        plain = torch.stack([
            excess(replace(self.adapter, init_scale=s).adapters(prompt, steps=20), C, XY) for s in self.init_scales
        ])  # fmt: skip
        worst = right.flatten(1).amin(1)
        one = {
            "share_least": worst.min(), "share_first": worst[0], "share_100": worst[min(LATE, len(worst)) - 1],
            "left_share": left[min(20, len(left)) - 1].min(), "spectral_start": (spectral[1] / spectral[0]).max(),
            "spectral_over_lora": (spectral[-1] / plain[:, -1].amin(0)).max(),
        }  # fmt: skip
        cosine = torch.cosine_similarity(own_map(model, prompt).flatten(2), XY.flatten(2), dim=-1).mean(-1)
        return Measured(
            numbers={name: value.view(1) for name, value in one.items()} | {"icl_cosine": cosine},
            curves={"share": _curve(right[:, 0], 1 - left[:, 0])},
            n_prompts=self.n_prompts,
        )


def within(rows: Float[Tensor, "T M B F R"], space: Float[Tensor, "M B F K"]) -> Float[Tensor, "T M B"]:
    """Share of the squared norm of the columns inside the orthonormal `space`."""
    return (space.mT @ rows).square().sum((-2, -1)) / rows.square().sum((-2, -1))


def excess(adapters: tuple[Tensor, Tensor], C: Tensor, XY: Tensor) -> Float[Tensor, "T M B"]:
    """½ tr Eᵀ C E of the error E = A B − W of the least-squares W = C⁻¹ XᵀY/N: the loss above its least."""
    error = adapters[0] @ adapters[1] - torch.linalg.lstsq(C, XY).solution
    return 0.5 * (error * (C @ error)).sum((-2, -1))


def own_map(model: Any, prompt: Prompt) -> Float[Tensor, "M B D O"]:
    """The model's answers to the D unit queries after each context; exact for a model that is linear in the query."""
    like = next(model.parameters())
    x, y = prompt.x.to(like), prompt.y.to(like)
    unit = torch.eye(x.shape[-1]).to(like)
    with torch.no_grad():
        answers = [last_step(model, Prompt(x, y, e.expand(*x.shape[:2], -1))) for e in unit]
    return torch.stack(answers, dim=2).double()


def _curve(right: Float[Tensor, "T B"], left: Float[Tensor, "T B"]) -> Curve:
    return Curve(
        kind="line", title="What of the adapter is outside the gradient's singular space", x_label="fine-tuning step",
        y_label="1 − share (A, its left space)", x=list(range(1, len(right) + 1)), model=left.T.tolist(),
        reference=(1 - right).clamp(min=1e-17).T.tolist(), reference_label="B, its right space", log_x=True, log_y=True,
        note="a line a prompt",
    )  # fmt: skip
