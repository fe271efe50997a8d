"""Linear attention applied again and again with x held fixed: the damped re-application of a trained layer.

References:
    von Oswald et al. 2022, Transformers learn in-context by gradient descent, arXiv:2212.07677
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from icl.models.columns import gram, product, times, tokens


def reapply(
    P: Float[Tensor, "#M L A A"],
    Q: Float[Tensor, "#M L A A"],
    start: Float[Tensor, "#M A D"],
    x: Float[Tensor, "#M D N B"],
    y: Float[Tensor, "#M O N B"],
    x_query: Float[Tensor, "#M D B"],
    *,
    layers: Sequence[int],
    damping: float,
) -> Float[Tensor, "T #M O B"]:
    """−y of the query S x_query before and after each of `layers`, x fixed, y damped; `start` is S.

    Every token's y stays a linear image of the token that it was, y_j = Y e_j, with a Y of size (O, A) a
    prompt. With T = [I 0; Y] and G = Σᵢ eᵢ eᵢᵀ of the first tokens a layer adds damping · P_y T G Tᵀ Q T to
    Y: O(A²) a step and prompt, whatever N.
    """
    size, dim = start.shape[1:]
    n_members, batch = max(start.shape[0], x.shape[0]), x.shape[-1]
    G, query = gram(tokens(x, y)), times(start, x_query)
    Y = torch.eye(size, device=query.device, dtype=query.dtype)[dim:, :, None].expand(n_members, -1, -1, batch)
    guesses = [-(Y * query[:, None]).sum(2)]
    for layer in layers:
        P_y = P[:, layer, dim:, :, None].expand(n_members, -1, -1, batch)
        attended = product(_through(P_y, Y), G)
        attended = torch.cat([attended[:, :, :dim], product(attended, Y.transpose(1, 2))], 2)
        moved = times(Q[:, layer].mT, attended.transpose(1, 2)).transpose(1, 2)
        Y = Y + damping * _through(moved, Y)
        guesses.append(-(Y * query[:, None]).sum(2))
    return torch.stack(guesses)


def _through(rows: Float[Tensor, "#M O A B"], Y: Float[Tensor, "#M O A B"]) -> Float[Tensor, "#M O A B"]:
    """rows T = (rows_x, 0) + rows_y Y."""
    n_outputs = Y.shape[1]
    x_part = torch.nn.functional.pad(rows[:, :, :-n_outputs], (0, 0, 0, n_outputs))
    return x_part + product(rows[:, :, -n_outputs:], Y)
