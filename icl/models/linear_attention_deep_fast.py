"""Two or more layers of linear attention, for the query's guess alone, in columns with the prompts last.

A layer maps every column by R = I + P G Q, so G ← R G Rᵀ; the guess reads the query's y alone, so the last
two layers need products with vectors only, and D x D work is left in the others.

References:
    Ahn et al. 2023, Transformers learn to implement preconditioned gradient descent, arXiv:2306.00297
"""

import torch
from jaxtyping import Float
from torch import Tensor

from icl.models.columns import gram, product, times


def several_layers(
    P: Float[Tensor, "#M L A A"],
    Q: Float[Tensor, "#M L A A"],
    start: Float[Tensor, "#M A D"],
    x_query: Float[Tensor, "#M D B"],
    context: Float[Tensor, "#M A N B"],
    G: Float[Tensor, "#M A A B"],
    *,
    n_layers: int,
    by_gram: bool | None = None,
) -> Float[Tensor, "#M O B"]:
    """What two or more layers add to the y of the query S x_query; `start` is S, L = 1 if all are one.

    The tokens go through all but the last two layers, or their Gram matrix does: 2 N A² + 2 A² N or 4 A³
    products of numbers a prompt and layer, measured to be equal near N = 3/2 A. `by_gram` chooses by hand.
    """
    layers = [(P[:, l % P.shape[1]], Q[:, l % Q.shape[1]]) for l in range(n_layers)]
    size, dim = start.shape[1:]
    query = times(start, x_query)[:, :, None]
    y_start = query[:, dim:, 0]
    if by_gram is None:
        by_gram = n_layers == 2 or 2 * context.shape[2] > 3 * size
    if by_gram:
        for layer in layers[:-2]:
            G, query = gram_through_layer(*layer, G, query)
    else:
        n_members = max(query.shape[0], context.shape[0])
        tokens = torch.cat([t.expand(n_members, -1, -1, -1) for t in (context, query)], 2)
        for layer in layers[:-2]:
            tokens = tokens_through_layer(*layer, G, tokens)
            G = gram(tokens[:, :, :-1])
        query = tokens[:, :, -1:]
    return query[:, dim:, 0] - y_start + two_layers_by_vectors(layers[-2], layers[-1], dim, G, query)


def tokens_through_layer(
    P: Float[Tensor, "#M A A"], Q: Float[Tensor, "#M A A"], G: Tensor, tokens: Float[Tensor, "#M A N1 B"]
) -> Float[Tensor, "#M A N1 B"]:
    """e ← R e for context and query (the last column)."""
    return tokens + times(P, product(G, times(Q, tokens)))


def gram_through_layer(
    P: Float[Tensor, "#M A A"], Q: Float[Tensor, "#M A A"], G: Tensor, query: Float[Tensor, "#M A 1 B"]
) -> tuple[Float[Tensor, "#M A A B"], Float[Tensor, "#M A 1 B"]]:
    """G ← R G Rᵀ and e_q ← R e_q, whatever N."""
    PG, QG = times(P, G), times(Q, G)
    GR = G + product(QG.transpose(1, 2), PG.transpose(1, 2))  # G Rᵀ
    return GR + product(PG, times(Q, GR)), query + times(P, product(G, times(Q, query)))


def two_layers_by_vectors(
    layer: tuple[Tensor, Tensor], last_layer: tuple[Tensor, Tensor], dim: int, G: Tensor, query: Tensor
) -> Float[Tensor, "#M O B"]:
    """What the last two add to the query's y: the first maps all by R, the second adds P_y R G Rᵀ Q R e_q."""
    (P, Q), (P_last, Q_last) = layer, last_layer
    P_y = P_last[:, dim:]
    step = times(P, product(G, times(Q, query)))
    u = times(Q_last, query + step)
    u = u + times(Q.mT, product(G, times(P.mT, u)))  # Rᵀ Q e_q
    p = P_y.mT[..., None] + times(Q.mT, times(P_y @ P, G).transpose(1, 2))  # Rᵀ P_yᵀ
    return step[:, dim:, 0] + (p * product(G, u)).sum(1)
