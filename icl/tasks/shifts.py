"""Prompts at test time from another law than in training: the distribution shifts of the literature.

`shift_inputs` is what a task's field `shift` does to inputs that were drawn; `shifts_of` names every shift of a task,
each of them a task of its own.

References:
    Garg et al. 2022, What can transformers learn in-context?, arXiv:2208.01066, Section 4
"""

import math
from dataclasses import replace
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from icl.rng import Draw

Shift = Literal["random_quadrants", "orthogonal", "overlapping", "half_subspace", "skewed"]
OF_THE_QUERY = ("random_quadrants", "orthogonal", "overlapping")  # from then on it has another law than the context
SCALES = {"third": 1 / 3, "half": 1 / 2, "twice": 2.0, "thrice": 3.0}


def check_shift(task: Any) -> None:
    """ValueError for a shift that there is not, or that `task` cannot have."""
    shift, dim = task.shift, task.dim
    if shift is None:
        return
    if shift not in get_args(Shift):
        raise ValueError(f"shift={shift!r} must be one of {', '.join(get_args(Shift))}, or null")
    if task.n_active is not None:
        raise ValueError(f"shift={shift} needs all coordinates of x: n_active={task.n_active} must be null")
    if shift in OF_THE_QUERY and task.positions == "every":
        raise ValueError(f"shift={shift} is of the query alone: positions={task.positions} must be query")
    if shift == "orthogonal" and task.n_context >= dim:
        raise ValueError(f"shift=orthogonal needs n_context={task.n_context} < dim={dim}, or nothing is orthogonal")
    if shift == "half_subspace" and dim < 2:
        raise ValueError(f"shift=half_subspace needs dim={dim} >= 2")


def shift_inputs(x: Float[Tensor, "M P D B"], shift: Shift, draw: Draw) -> Float[Tensor, "M P D B"]:
    """The context and, last, the query, every prompt moved on its own; E ‖x‖² stays.

    random_quadrants   the context |x| s with one random sign pattern s; the query as it was
    orthogonal         the query without its part in the span of the context, as long as before
    overlapping        the query is one of the context's x, each as likely
    half_subspace      x ← √(D/k) V Vᵀ x, V a random orthonormal basis of k = ⌊D/2⌋ directions
    skewed             x ← U diag(e) Uᵀ x, U a random rotation, e_k ∝ 1/k with Σ e² = D
    """
    n_prompts, dim = x.shape[3], x.shape[2]
    context, query = x[:, :-1], x[:, -1:]
    if shift == "random_quadrants":
        signs = 2.0 * (draw.uniform(1, dim, n_prompts) < 0.5) - 1
        return torch.cat([context.abs() * signs, query], 1)
    if shift == "overlapping":
        which = draw.integers(context.shape[1], 1, 1, n_prompts).expand(-1, -1, dim, -1)
        return torch.cat([context, context.gather(1, which)], 1)
    if shift == "orthogonal":
        basis = torch.linalg.qr(context.permute(0, 3, 2, 1)).Q  # (M, B, D, N)
        q = query[:, 0].mT
        rest = q - torch.einsum("mbdn,mben,mbe->mbd", basis, basis, q)
        rest = rest * (q.norm(dim=-1, keepdim=True) / rest.norm(dim=-1, keepdim=True))
        return torch.cat([context, rest.mT[:, None]], 1)
    return torch.einsum("mbde,mpeb->mpdb", _stretched(dim, shift, draw, n_prompts), x)


def _stretched(dim: int, shift: Shift, draw: Draw, n_prompts: int) -> Float[Tensor, "M B D D"]:
    """U diag(e) Uᵀ, a random rotation U a prompt."""
    U = torch.linalg.qr(draw.normal(n_prompts, dim, dim)).Q
    k = torch.arange(dim, device=U.device, dtype=torch.float64)
    e = 1 / (k + 1) if shift == "skewed" else (k < dim // 2).double()
    e = (math.sqrt(dim) * e / e.norm()).to(U)
    return torch.einsum("mbdk,k,mbek->mbde", U, e, U)


def shifts_of(task: Any) -> dict[str, Any]:
    """Every shift that `task` can have, by name, as the task to test on; "none" is the task itself, at its query.

    `scale_x_*` and `scale_y_*` scale inputs and labels, so errors are to be held against E y², or divided by the
    square. `noisy` has label noise 1 with the labels scaled back to their own variance, where that is known.
    """
    task = replace(task, positions="query", n_active=None, shift=None)
    found = {"none": task}
    for shift in get_args(Shift):
        if (shift, task.n_context < task.dim) != ("orthogonal", False) and (shift, task.dim) != ("half_subspace", 1):
            found[shift] = replace(task, shift=shift)
    for name, factor in SCALES.items():
        found[f"scale_x_{name}"] = replace(task, input_scale=factor * task.input_scale)
        found[f"scale_y_{name}"] = replace(task, weight_scale=factor * task.weight_scale)
    power = 2 * task.known_half_mse().get("zero", 0.0)
    if power > 0 and task.noise_std == 0:
        shrunk = math.sqrt(power / (power + 1))
        found["noisy"] = replace(task, noise_std=shrunk, weight_scale=shrunk * task.weight_scale)
    return found
