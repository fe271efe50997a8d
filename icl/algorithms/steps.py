"""How many steps an algorithm makes, with which constants, and what it answers with."""

import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

Returns = Literal["prediction", "weights"]


def each_step(name: str, value: Any, steps: int) -> list[Any]:
    """The constant of every step: `value` itself, or the first `steps` of its entries if it is a sequence.

    Raises:
        ValueError: `steps` < 0, a sequence that is too short, a number that is not finite.
    """
    if steps < 0:
        raise ValueError(f"steps={steps} must be >= 0")
    if not isinstance(value, Sequence):
        value = [value] * steps
    if steps > len(value):
        raise ValueError(f"steps={steps} must be <= {len(value)}, the number of entries of {name}")
    if not all(math.isfinite(v) for v in value if not isinstance(v, Tensor)):
        raise ValueError(f"{name}={value} must be finite")
    return list(value[:steps])


def guess(w: Float[Tensor, "#M B D *out"], x_query: Float[Tensor, "#M B D"]) -> Float[Tensor, "#M B *out"]:
    """⟨w, x_query⟩."""
    return torch.einsum("mbd...,mbd->mb...", w, x_query)


def zero_weights(x: Float[Tensor, "#M B N D"], y: Float[Tensor, "#M B N *out"]) -> Float[Tensor, "#M B D *out"]:
    """w = 0 with the prompts as the last axis in memory if they are that in x."""
    if y.ndim == 3 and x.stride(1) == 1:
        return x.new_zeros(x.shape[0], x.shape[3], x.shape[1]).mT
    return x.new_zeros(*x.shape[:2], x.shape[3], *y.shape[3:])


def read(x: Float[Tensor, "#M B N D"], w: Float[Tensor, "#M B D *out"]) -> Float[Tensor, "#M B N *out"]:
    """⟨w, xᵢ⟩ for every pair; where prompts are the last axis in memory, along them: ten times faster on a CPU."""
    if w.ndim == 3 and x.stride(1) == 1:
        return (x.permute(0, 2, 3, 1) * w.mT[:, None]).sum(2).mT
    return torch.einsum("mbnd,mbd...->mbn...", x, w)


def collect(x: Float[Tensor, "#M B N D"], r: Float[Tensor, "#M B N *out"]) -> Float[Tensor, "#M B D *out"]:
    """Σᵢ rᵢ xᵢ; as `read`."""
    if r.ndim == 3 and x.stride(1) == 1:
        return (x.permute(0, 2, 3, 1) * r.mT[:, :, None]).sum(1).mT
    return torch.einsum("mbnd,mbn...->mbd...", x, r)


def check_returns(returns: str) -> None:
    """ValueError unless it is a `Returns`."""
    if returns not in get_args(Returns):
        raise ValueError(f"returns={returns} must be {' or '.join(get_args(Returns))}")


def asked_for(task: Any) -> Returns:
    """What `task` has as target: a label, unless it says otherwise."""
    return getattr(task, "returns", "prediction")


def answer(
    w: Float[Tensor, "#M B D *out"], x_query: Float[Tensor, "#M B D"], returns: Returns
) -> Float[Tensor, "#M B *answer"]:
    """⟨w, x_query⟩, or w itself."""
    return w if returns == "weights" else guess(w, x_query)


def at_once(
    w: Float[Tensor, "#M B D *out"],
    x_query: Float[Tensor, "#M B D"],
    steps: int | None,
    returns: Returns = "prediction",
) -> Float[Tensor, "T #M B *answer"]:
    """The trajectory of an estimator without iterations: the prior guess 0, then ⟨w, x_query⟩ (or w).

    Raises:
        ValueError: more than one step is asked for.
    """
    return one_answer(answer(w, x_query, returns), steps)


def one_answer(only: Float[Tensor, "#M B *answer"], steps: int | None) -> Float[Tensor, "T #M B *answer"]:
    """0, then `only`: the trajectory of what has no iterations. ValueError if more than one step is asked for."""
    if steps not in (None, 0, 1):
        raise ValueError(f"steps={steps} must be 0 or 1, this estimator has no iterations")
    return torch.stack([torch.zeros_like(only), only][: 1 if steps == 0 else 2])
