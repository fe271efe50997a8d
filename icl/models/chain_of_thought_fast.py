"""The two passes of a chain of thought without recomputation; columns "M A T B", prompts the last axis.

Only the last column of a sequence is ever asked for, and the layer reads the others through their Gram matrix alone,

    f(Z)[:, last] = z + V G W z / N,      G = Z Zᵀ,

which a new thought changes by one outer product: O(A²) a thought and prompt, whatever the length of the sequence.

References:
    Huang, Wang, Lee 2025, Transformers learn to implement multi-step gradient descent with chain of thought,
    arXiv:2502.21212
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from icl.models.columns import CHUNK_FLOATS, gram, product, times


def rollout(
    V: Float[Tensor, "#M A A"], W: Float[Tensor, "#M A A"], context: Float[Tensor, "#M C N B"], *, steps: int
) -> Float[Tensor, "T #M A B"]:
    """z_0 .. z_steps, each from the ones before it; (xᵢ, yᵢ) are the columns of `context`, C = D + 1.

    In pieces of the batch, so that the Gram matrices stay in cache.
    """
    size = max(1, CHUNK_FLOATS // (V.shape[0] * V.shape[1] ** 2))
    pieces = [_rollout(V, W, piece, steps) for piece in context.split(size, dim=-1)]
    return torch.cat(pieces, -1) if len(pieces) > 1 else pieces[0]


def _rollout(V: Tensor, W: Tensor, context: Tensor, steps: int) -> Float[Tensor, "T #M A B"]:
    (n_members, size, _), (_, n_rows, n_context, batch) = V.shape, context.shape
    n_members = max(n_members, context.shape[0])
    V, n_after = V / max(n_context, 1), size - n_rows
    G = pad(gram(context), (0, 0, 0, n_after, 0, n_after)) if n_context else context.new_zeros(1, size, size, batch)
    z = pad(context.new_ones(n_members, 1, batch), (0, 0, size - 1, 0))
    thoughts = [z]
    for _ in range(steps):
        G = torch.addcmul(G, z[:, :, None], z[:, None])
        z = z + times(V, product(G, times(W, z)[:, :, None])[:, :, 0])
        thoughts.append(z)
    return torch.stack(thoughts)


def teacher_forced(
    V: Float[Tensor, "#M A A"],
    W: Float[Tensor, "#M A A"],
    context: Float[Tensor, "#M C N B"],
    weights: Float[Tensor, "#M D K B"],
) -> Float[Tensor, "#M A K B"]:
    """f(Z_i)[:, last] for i = 0..K−1 at once, Z_i the context and the given thoughts (0, 0, w_j, 1), j ≤ i.

    With u_i = W z_i the i-th column reads the context by G u_i and the thoughts by Σ_{j ≤ i} z_j ⟨z_j, u_i⟩, a
    product with a triangular mask. The given thoughts are 0 in the rows of x and y, so each product is done on the
    half of the rows where it is not.
    """
    n_rows, n_context = context.shape[1], context.shape[2]
    t = pad(weights, (0, 0, 0, 0, 0, 1), value=1.0)  # (w_j, 1): the rows that are not zero
    u = times(W[:, :, n_rows:], t)
    read = product(gram(context), u[:, :n_rows]) if n_context else torch.zeros_like(u[:, :n_rows])
    scores = product(t.transpose(1, 2), u[:, n_rows:])  # ⟨z_j, u_i⟩, (M, K, K, B)
    own = product(t, scores * _not_after(t.shape[2]).to(t))
    attended = torch.cat([read, own.expand(read.shape[0], -1, -1, -1)], 1)
    return pad(t, (0, 0, 0, 0, n_rows, 0)) + times(V / max(n_context, 1), attended)


def _not_after(n: int) -> Float[Tensor, "K K 1"]:
    """1 at (j, i) for j ≤ i."""
    return torch.ones(n, n).triu()[..., None]
