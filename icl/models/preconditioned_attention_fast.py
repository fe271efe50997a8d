"""The guess of preconditioned attention after its last layer, by products of S = (1/N) Σᵢ x_i x_iᵀ and vectors.

Every token's y stays a linear image of its x, so a layer needs S and b = (1/N) Σᵢ y_i x_i alone. It adds
bᵀ A x_query to the query's y, and with R = I + B S A (R = I without x-update)

    b ← R (b + S Aᵀ b),      x_query ← R x_query,      S ← R S Rᵀ.

The last layer reads b, the one before needs S times vectors: D x D x D work is left in the others, and only if
there is an x-update.

References:
    Ahn et al. 2023, Transformers learn to implement preconditioned gradient descent, arXiv:2306.00297
"""

from jaxtyping import Float
from torch import Tensor

from icl.models.columns import gram, in_chunks, product, times


def last(
    A: Float[Tensor, "#M L D D"],
    B: Float[Tensor, "#M L D D"] | None,
    x: Float[Tensor, "#M D N B"],
    y: Float[Tensor, "#M 1 N B"],
    x_query: Float[Tensor, "#M D B"],
    *,
    n_layers: int,
) -> Float[Tensor, "#M B"]:
    """Minus the query's y after `n_layers` layers, L = 1 if all are one; members in chunks that stay in cache."""
    n_context = max(x.shape[2], 1)
    S = gram(x) / n_context if n_layers > 1 else x.new_zeros(1, x.shape[1], x.shape[1], 1)
    b = product(x, y.transpose(1, 2)) / n_context  # (M, D, 1, B)

    def layers(A: Tensor, B: Tensor, S: Tensor, b: Tensor, x_query: Tensor) -> Tensor:
        stored = [(A[:, l % A.shape[1]], B[:, l % A.shape[1]]) for l in range(n_layers)]
        return through_layers(stored, S, b, x_query, x_update=x_update)

    x_update = B is not None
    floats = x.shape[1] ** (2 if n_layers > 1 else 1) * x.shape[-1]
    return in_chunks(layers, floats, A, A if B is None else B, S, b, x_query)


def through_layers(
    layers: list[tuple[Tensor, Tensor]],
    S: Float[Tensor, "#M D D #B"],
    b: Float[Tensor, "#M D 1 B"],
    x_query: Float[Tensor, "#M D B"],
    *,
    x_update: bool,
) -> Float[Tensor, "#M B"]:
    """Minus the sum of bᵀ A x_query over the layers (A, B)."""
    q, guess = x_query[:, :, None], x_query.new_zeros(())
    for l, (A, B) in enumerate(layers):
        key = times(A.mT, b)  # Aᵀ b
        guess = guess - (key * q).sum((1, 2))
        if l + 1 == len(layers):
            break
        b = b + product(S, key)
        if x_update:
            SA_b, SA_q = (product(S, times(A, v)) for v in (b, q))
            b, q = b + times(B, SA_b), q + times(B, SA_q)
            S = moved(S, A, B) if l + 2 < len(layers) else S
    return guess


def moved(
    S: Float[Tensor, "#M D D B"], A: Float[Tensor, "#M D D"], B: Float[Tensor, "#M D D"]
) -> Float[Tensor, "#M D D B"]:
    """R S Rᵀ with R = I + B S A."""
    BS, AS = times(B, S), times(A, S)
    SR = S + product(AS.transpose(1, 2), BS.transpose(1, 2))  # S Rᵀ = S + (A S)ᵀ S Bᵀ, S symmetric
    return SR + product(BS, times(A, SR))
