"""The last guess of a two-layer disentangled transformer without its zeros; proved equal to the plain form by tests.

The stream starts as (token, position), two one-hot vectors, so products with it are sums of a few entries: the position
part of what a head reads is its attention itself. In the second layer only the query reads. Small products over prompts
are written as sums of elementwise ones, which a CPU does several times faster than thousands of tiny matrix products.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from icl.core import Prompt


def last_of_two_layers(
    A1: Float[Tensor, "M H d d"], A2: Float[Tensor, "M G e e"], W: Float[Tensor, "M V f"], prompt: Prompt
) -> Float[Tensor, "M B V"]:
    """The logits of the query."""
    x = torch.cat([prompt.x, prompt.x_query[:, :, None]], 2)
    x = x.expand(W.shape[0], -1, -1, -1)  # (M, B, P, S)
    S, P, heads = x.shape[3], x.shape[2], A1.shape[1]
    attention = first_attention(A1, x)
    copied = [(attention[:, :, h, :, :, None] * x[:, :, None]).sum(3) for h in range(heads)]
    pad = x.new_zeros(*x.shape[:3], A1.shape[2] - S - P)
    at = torch.eye(P, device=x.device, dtype=x.dtype).expand(*x.shape[:2], P, P)
    parts = [x, at, pad]
    for h in range(heads):
        parts += [copied[h], attention[:, :, h], pad]
    stream = torch.cat(parts, -1)  # (M, B, P, e)
    query = stream[:, :, -1]
    guess = [query]
    for g in range(A2.shape[1]):
        turned = query @ A2[:, g]  # (M, B, e)
        weights = (turned[:, :, None] * stream).sum(-1).softmax(-1)
        guess.append((weights[..., None] * stream).sum(2))
    return torch.cat(guess, -1) @ W.mT


def first_attention(A: Float[Tensor, "M H d d"], x: Float[Tensor, "M B P S"]) -> Float[Tensor, "M B H P P"]:
    """softmax over j <= i of h_iᵀ A h_j for h = (x, position): four blocks of A, met by one-hot vectors."""
    S, P = x.shape[3], x.shape[2]
    later = torch.ones(P, P, dtype=torch.bool, device=x.device).triu(1)
    found = []
    for block in A.unbind(1):
        tokens, positions = block[:, :S], block[:, S : S + P]
        turned = (x.flatten(1, 2) @ tokens).unflatten(1, x.shape[1:3]) + positions[:, None]  # (M, B, P, d)
        scores = turned[..., S : S + P]
        for s in range(S):
            scores = scores + turned[..., s, None] * x[:, :, None, :, s]
        found.append(scores.masked_fill(later, -torch.inf).softmax(-1))
    return torch.stack(found, 2)
