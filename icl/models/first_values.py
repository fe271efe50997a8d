"""First values of a bank's weights: those of a member are a function of its own seed alone."""

import math
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from icl.rng import Draw

TRUNCATED_STD = 0.87962566103423978  # of a standard normal cut off at two deviations


def check_seeds(draw: Draw, n_members: int) -> None:
    """Raises ValueError if `draw` has not one seed a member: one seed would be the same model many times."""
    if len(draw.seeds) != n_members:
        raise ValueError(f"the draw has {len(draw.seeds)} seeds, the bank {n_members} members")


def draw_normal(weights: Iterable[Tensor], draw: Draw, std: float) -> None:
    """Fill every weight "M ..." with N(0, std²).

    Raises:
        ValueError: `draw` has not one seed a member.
    """
    for weight in weights:
        check_seeds(draw, weight.shape[0])
        weight.copy_(std * draw.normal(*weight.shape[1:]))


def draw_truncated_normal(weights: Iterable[Tensor], draw: Draw, scale: float) -> None:
    """Fill every weight "M .. F" with truncated normal numbers of variance scale / F.

    Raises:
        ValueError: `draw` has not one seed a member.
    """
    for weight in weights:
        check_seeds(draw, weight.shape[0])
        weight.copy_(math.sqrt(scale / weight.shape[-1]) * truncated_normal(draw, *weight.shape[1:]))


def truncated_normal(draw: Draw, *shape: int) -> Float[Tensor, "..."]:
    """Normal numbers within two deviations, scaled to variance 1; one uniform number each."""
    inside = math.erf(math.sqrt(2))  # P(|z| < 2)
    cut = torch.erfinv(inside * (2 * draw.uniform(*shape) - 1)) * math.sqrt(2)
    return cut / TRUNCATED_STD
