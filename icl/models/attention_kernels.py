"""What a query takes from a key: softmax, linear and Gaussian attention, causal.

References:
    von Oswald et al. 2022, Transformers learn in-context by gradient descent, arXiv:2212.07677 (linear)
    Song, Han, Zhang, Ding, Hong 2024, Unraveling the gradient descent dynamics of transformers, arXiv:2411.07538
    (Gaussian)
"""

import math
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from icl.models.matmul_route import attention

Kernel = Literal["softmax", "linear", "gaussian"]


def attend(
    kernel: Kernel,
    q: Float[Tensor, "K H S E"],
    k: Float[Tensor, "K H S2 E"],
    v: Float[Tensor, "K H S2 F"],
    mask: Bool[Tensor, "S S2"] | None = None,
) -> Float[Tensor, "K H S F"]:
    """Σ_j a_ij v_j over the tokens j that i may see: those up to its own, or those of `mask`.

        softmax    a_ij = exp(⟨q_i, k_j⟩/√E) / Σ_j exp(⟨q_i, k_j⟩/√E)
        linear     a_ij = ⟨q_i, k_j⟩ / (√E n_i)
        gaussian   a_ij = exp(−|q_i − k_j|² / (2√E)) / n_i

    n_i is the number of tokens that i sees, so that the last two are means and no position is louder than another;
    they are not normalised by their own sum. √E in the Gaussian makes its logits those of the softmax less norms.
    """
    if kernel == "softmax":
        return attention(q, k, v, mask)
    if mask is None:
        mask = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device).tril()
    scores = q @ k.mT
    if kernel == "gaussian":
        halves = [0.5 * t.square().sum(-1) for t in (q, k)]
        scores = (scores - halves[0][..., None] - halves[1][..., None, :]) / math.sqrt(q.shape[-1])
        scores, scale = scores.clamp(max=0).exp(), 1.0  # rounding alone lifts a distance above zero
    else:
        scale = 1 / math.sqrt(q.shape[-1])
    share = mask.to(q)
    return (scores * (scale * share / share.sum(-1, keepdim=True))) @ v
