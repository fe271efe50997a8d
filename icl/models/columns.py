"""Products of small matrices, one a prompt, in arrays whose last axis is the batch.

An array "M A N B" holds, for every member and prompt, a matrix with N columns of size A. With the prompts
last, a product runs along contiguous memory, several times faster on a CPU than one call a prompt at these
sizes (A near 10).
"""

from collections.abc import Callable
from itertools import repeat
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

CHUNK_FLOATS = 2**20  # of the largest array that a chunk of members makes: 4 MiB in float32


class _Product(torch.autograd.Function):
    """X Y, summed in place, so that nothing larger than the factors and the result is stored."""

    @staticmethod
    def forward(ctx: Any, X: Tensor, Y: Tensor) -> Tensor:
        ctx.save_for_backward(X, Y)
        if X.device.type != "cpu" or X.shape[2] == 0:
            return torch.einsum("mikb,mkjb->mijb", X, Y)
        pairs = zip(X.unbind(2), Y.unbind(1))
        x, y = next(pairs)
        out = x[:, :, None] * y[:, None]
        for x, y in pairs:
            out.addcmul_(x[:, :, None], y[:, None])
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (X, Y), (Z,) = ctx.saved_tensors, gradients
        needs_X, needs_Y = ctx.needs_input_grad
        dX = product(Z, Y.transpose(1, 2)).sum_to_size(X.shape) if needs_X else None
        dY = product(X.transpose(1, 2), Z).sum_to_size(Y.shape) if needs_Y else None
        return dX, dY


def product(X: Float[Tensor, "#M I K B"], Y: Float[Tensor, "#M K J B"]) -> Float[Tensor, "#M I J B"]:
    """X Y for every member and prompt; its gradients are two more such products."""
    return _Product.apply(X, Y)


def times(W: Float[Tensor, "#M I K"], t: Float[Tensor, "#M K *rest"]) -> Float[Tensor, "#M I *rest"]:
    """The weights of a member times columns: one matrix product for all members if the columns are shared."""
    return torch.einsum("mik,mk...->mi...", W, t)


def tokens(x: Float[Tensor, "#M D N B"], y: Float[Tensor, "#M O N B"]) -> Float[Tensor, "#M A N B"]:
    """e_i = (x_i, y_i), in memory as in the axes."""
    return torch.cat([x, y], 1).contiguous()


def gram(columns: Float[Tensor, "#M A N B"]) -> Float[Tensor, "#M A A B"]:
    """G = Σᵢ eᵢ eᵢᵀ over the columns."""
    return product(columns, columns.transpose(1, 2))


def in_chunks(form: Callable[..., Tensor], floats: int, *tensors: Tensor) -> Tensor:
    """`form` on a few members at a time, so that its arrays stay in cache; M = 1 is shared by all.

    `floats` is the size of its largest array for one member.
    """
    size = max(1, CHUNK_FLOATS // max(1, floats))
    if size >= max(t.shape[0] for t in tensors):
        return form(*tensors)
    chunks = [t.split(size) if t.shape[0] > 1 else repeat(t) for t in tensors]
    return torch.cat([form(*chunk) for chunk in zip(*chunks)])
