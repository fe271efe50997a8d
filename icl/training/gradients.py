"""What may happen to a gradient before the update rule sees it, member by member: four clippings and a noise.

Gradients of a bank are one matrix (M, F), a row a member; only `adaptive_clip` needs the tensors themselves.

References:
    Brock, De, Smith, Simonyan 2021, High-performance large-scale image recognition without normalization,
        arXiv:2102.06171 (adaptive clipping)
    Pan, Li 2023, Toward understanding why Adam converges faster than SGD for transformers, arXiv:2306.00204
        (coordinate-wise clipping)
    Neelakantan et al. 2015, Adding gradient noise improves learning for very deep networks, arXiv:1511.06807
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from icl.rng import Draw

CLIP_EPS = 1e-6  # as in torch.nn.utils.clip_grad_norm_
LEAST_UNIT = 1e-3  # adaptive clipping: no unit counts as smaller, or zero weights would never move
NOISE_DECAY = 0.55


def clip_norm_(grad: Float[Tensor, "M F"], limit: Float[Tensor, "M 1"]) -> None:
    """g ← g min(1, limit / ‖g‖), in place."""
    norm = torch.linalg.vector_norm(grad, dim=1, keepdim=True)
    grad *= (limit / (norm + CLIP_EPS)).clamp_(max=1.0)


def clip_coordinates(grad: Float[Tensor, "M F"], share: float) -> Float[Tensor, "M F"]:
    """The ⌊share F⌋ coordinates of largest |g| are cut to the size of the next one; a sign stays."""
    n_kept = grad.shape[1] - math.floor(share * grad.shape[1])
    threshold = grad.abs().kthvalue(n_kept, dim=1, keepdim=True).values
    return torch.clamp(grad, -threshold, threshold)


def clip_units(gradient: Float[Tensor, "M ..."], parameter: Float[Tensor, "M ..."], limit: float) -> Tensor:
    """g ← g min(1, limit max(‖w‖, 1e-3) / ‖g‖) for every unit: a row of a weight matrix, or a whole vector."""
    if parameter.ndim == 1:  # one number a member
        most = parameter.abs().clamp(min=LEAST_UNIT) * limit
        return torch.clamp(gradient, -most, most)
    most = torch.linalg.vector_norm(parameter, dim=-1, keepdim=True).clamp_(min=LEAST_UNIT) * limit
    norm = torch.linalg.vector_norm(gradient, dim=-1, keepdim=True)
    return torch.where(norm > most, gradient * (most / norm), gradient)


def noise(draw: Draw, step: int, n: int, variance: float) -> Float[Tensor, "M F"]:
    """N(0, variance / (1 + step)^0.55), a member's own stream."""
    return draw.at(step).normal(n).mul_(math.sqrt(variance / (1 + step) ** NOISE_DECAY))
