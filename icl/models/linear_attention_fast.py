"""What linear attention guesses for the query, and nothing else: identities of the token form, but cheaper.

Tokens are columns of size A = D + O, prompts the last axis ("M A N B"). With P and Q merged, c inside P, P_y
the last O rows of P, G = Σᵢ eᵢ eᵢᵀ and the query e_q = S x_query, S = [I; −w_init], one layer guesses

    ŷ = w_init x_query − P_y G Q S x_query.

References:
    von Oswald et al. 2022, Transformers learn in-context by gradient descent, arXiv:2212.07677
    Ahn et al. 2023, Transformers learn to implement preconditioned gradient descent, arXiv:2306.00297
"""

import torch
from jaxtyping import Float
from torch import Tensor

from icl.models.columns import gram, in_chunks, product, times, tokens
from icl.models.linear_attention_deep_fast import several_layers

MANY_MEMBERS, FEW_FEATURES = 32, 1000  # from here on, and up to here, one large matrix product wins


def last(
    P: Float[Tensor, "#M L A A"],
    Q: Float[Tensor, "#M L A A"],
    start: Float[Tensor, "#M A D"],
    x: Float[Tensor, "#M D N B"],
    y: Float[Tensor, "#M O N B"],
    x_query: Float[Tensor, "#M D B"],
    *,
    n_layers: int,
) -> Float[Tensor, "#M O B"]:
    """The guess after the last layer, by the form that sizes alone choose (a timing would not repeat).

    One layer: vectors for a member with prompts of its own; on a shared stream the Gram matrix, or from 32
    members on its features where there are at most 1000. Several layers: see `several_layers`. Large banks go
    through in chunks of members, so that activations stay in cache, forwards and backwards.
    """
    first = times(-start[:, x.shape[1] :], x_query)
    if n_layers == 1:  # the sign at the weights, so that nothing as large as a batch is negated
        return first + one_layer(-P[:, 0, x.shape[1] :], Q[:, 0] @ start, x, y, x_query)
    return first - stack(P, Q, start, x, y, x_query, n_layers)


def one_layer(
    P_y: Float[Tensor, "#M O A"], QS: Float[Tensor, "#M A D"], x: Tensor, y: Tensor, x_query: Tensor
) -> Float[Tensor, "#M O B"]:
    """P_y G QS x_query by the cheapest form; x, y and x_query are columns."""
    (n_members, n_outputs, size), (n_streams, dim, n_context, batch) = P_y.shape, x.shape
    if n_streams > 1 or n_members == 1:
        return in_chunks(one_layer_by_vectors, size * n_context * batch, P_y, QS, x, y, x_query)
    G = gram(tokens(x, y))
    if n_members >= MANY_MEMBERS and dim * size * (size + 1) // 2 <= FEW_FEATURES:
        return one_layer_by_features(P_y, QS, G, x_query)
    return in_chunks(one_layer_by_gram, size * n_outputs * batch, P_y, QS, G, x_query)


def stack(
    P: Tensor, Q: Tensor, start: Tensor, x: Tensor, y: Tensor, x_query: Tensor, n_layers: int
) -> Float[Tensor, "#M O B"]:
    """What several layers add to the query's y; the Gram matrix of a shared stream is one for all members."""
    size, (_, _, n_context, batch) = P.shape[-1], x.shape
    floats = size * max(size, n_context + 1) * batch

    def on_own_prompts(P: Tensor, Q: Tensor, start: Tensor, x_query: Tensor, x: Tensor, y: Tensor) -> Tensor:
        context = tokens(x, y)
        return several_layers(P, Q, start, x_query, context, gram(context), n_layers=n_layers)

    def on_shared_prompts(*tensors: Tensor) -> Tensor:
        return several_layers(*tensors, n_layers=n_layers)

    if x.shape[0] > 1:
        return in_chunks(on_own_prompts, floats, P, Q, start, x_query, x, y)
    context = tokens(x, y)
    return in_chunks(on_shared_prompts, floats, P, Q, start, x_query, context, gram(context))


def one_layer_by_vectors(
    P_y: Float[Tensor, "#M O A"], QS: Float[Tensor, "#M A D"], x: Tensor, y: Tensor, x_query: Tensor
) -> Float[Tensor, "#M O B"]:
    """⟨Σᵢ eᵢ (P_y eᵢ), QS x_query⟩: two products with a vector, O(N A) a prompt."""
    context = tokens(x, y)
    attended = product(context, times(P_y, context).transpose(1, 2))  # (M, A, O, B)
    return (attended * times(QS, x_query)[:, :, None]).sum(1)


def one_layer_by_gram(
    P_y: Float[Tensor, "#M O A"], QS: Float[Tensor, "#M A D"], G: Float[Tensor, "#M A A B"], x_query: Tensor
) -> Float[Tensor, "#M O B"]:
    """⟨P_y G, QS x_query⟩: each side is one matrix product for all members of a shared stream."""
    return (times(P_y, G) * times(QS, x_query)[:, None]).sum(2)


def one_layer_by_features(
    P_y: Float[Tensor, "#M O A"], QS: Float[Tensor, "#M A D"], G: Float[Tensor, "#M A A B"], x_query: Tensor
) -> Float[Tensor, "#M O B"]:
    """⟨sym(P_y ⊗ QS), vech(G) ⊗ x_query⟩: features know no member, so all members are one matrix product."""
    i, j = torch.triu_indices(G.shape[1], G.shape[1], device=G.device)
    once = torch.where(i == j, 0.5, 1.0).to(G)[:, None] * G[:, i, j]
    features = (once[:, :, None] * x_query[:, None]).flatten(1, 2)
    coefficients = P_y[:, :, i, None] * QS[:, None, j] + P_y[:, :, j, None] * QS[:, None, i]
    return times(coefficients.flatten(2), features)
