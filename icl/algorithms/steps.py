"""How many steps an algorithm makes, and with which constants."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


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


def at_once(
    w: Float[Tensor, "#M B D *out"], x_query: Float[Tensor, "#M B D"], steps: int | None
) -> Float[Tensor, "T #M B *out"]:
    """The trajectory of an estimator without iterations: the prior guess 0, then ⟨w, x_query⟩.

    Raises:
        ValueError: more than one step is asked for.
    """
    if steps not in (None, 0, 1):
        raise ValueError(f"steps={steps} must be 0 or 1, this estimator has no iterations")
    answer = guess(w, x_query)
    return torch.stack([torch.zeros_like(answer), answer][: 1 if steps == 0 else 2])
