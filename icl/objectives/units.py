"""A loss says its unit in its name: half_mse (von Oswald), mse (Ahn, Garg in training)."""

from typing import Literal

from torch import Tensor

Unit = Literal["half_mse", "mse"]
PER_MSE: dict[str, float] = {"half_mse": 0.5, "mse": 1.0}


def in_unit(mse: Tensor, unit: Unit) -> Tensor:
    return PER_MSE[unit] * mse
