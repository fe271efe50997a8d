"""Functions of x drawn anew for every prompt, on inputs with the batch as the last axis.

References:
    Garg et al. 2022, What can transformers learn in-context?, arXiv:2208.01066
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from icl.rng import Draw


def quadratic(x: Float[Tensor, "M P D B"], draw: Draw) -> Float[Tensor, "M P B"]:
    """f(x) = Σ_k w_k x_k² / √3, w ~ N(0, I); E f² = D for standard normal x."""
    w = draw.normal(*x.shape[2:]) / math.sqrt(3)
    return (x.square() * w[:, None]).sum(2)


def relu_network(x: Float[Tensor, "M P D B"], draw: Draw, n_hidden: int) -> Float[Tensor, "M P B"]:
    """f(x) = √(2/h) Σ_k a_k max(0, ⟨w_k, x⟩), standard normal a and w; E f² = D for standard normal x."""
    dim, n_prompts = x.shape[2:]
    w, a = draw.normal(n_prompts, n_hidden, dim), draw.normal(n_prompts, n_hidden)
    hidden = torch.einsum("mbhd,mndb->mnbh", w, x).relu_()
    return math.sqrt(2 / n_hidden) * torch.einsum("mnbh,mbh->mnb", hidden, a)


def tree(x: Float[Tensor, "M P D B"], draw: Draw, depth: int) -> Float[Tensor, "M P B"]:
    """A full binary tree: a node asks for the sign of a coordinate, each as likely, and goes right if it is > 0.

    The 2^depth leaves are N(0, 1), so E f² = 1.
    """
    n_nodes, n_prompts = 2**depth - 1, x.shape[3]
    coordinate, leaf = draw.integers(x.shape[2], n_nodes, n_prompts), draw.normal(n_nodes + 1, n_prompts)
    node = torch.zeros_like(x[:, :, 0], dtype=torch.int64)
    for _ in range(depth):  # node k has the children 2k + 1 and 2k + 2
        asked = x.gather(2, coordinate.gather(1, node)[:, :, None])[:, :, 0]
        node = 2 * node + 1 + (asked > 0)
    return leaf.gather(1, node - n_nodes)


def sparse_mask(n_nonzero: int, n_active: int, draw: Draw, dim: int, n_prompts: int) -> Float[Tensor, "M D B"]:
    """Ones at `n_nonzero` of the first `n_active` coordinates (all of them if they are fewer), zeros elsewhere."""
    chosen = (draw.permutations(n_prompts, n_active) < n_nonzero).mT
    return torch.nn.functional.pad(chosen.to(draw.dtype), (0, 0, 0, dim - n_active))
