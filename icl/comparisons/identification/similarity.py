"""How near two predictors are: squared distances, similarity of errors, similarity of the weights that they induce.

References:
    Akyürek et al. 2022, What learning algorithm is in-context learning?, arXiv:2211.15661 (squared prediction
    difference, implicit linear weights)
    Fu, Chen, Jia, Sharan 2023, arXiv:2310.17086 (similarity of errors)
"""

import torch
from jaxtyping import Float
from torch import Tensor

NOTHING = 1e-6  # an error below this share of the labels' size has no direction


def prompt_distances(mine: Float[Tensor, "#M B K"], theirs: Float[Tensor, "#M B K"]) -> Float[Tensor, "#M B"]:
    """Mean squared distance of the guesses to every prompt; the mean over prompts is the squared prediction
    difference."""
    return (mine - theirs).square().mean(-1)


def errors(guesses: Float[Tensor, "#M B K"], target: Float[Tensor, "B K"]) -> Float[Tensor, "#M B K"]:
    """ŷ − y, exactly zero where it is nothing but rounding."""
    r = guesses - target
    return torch.where(r.abs() > NOTHING * target.square().mean().sqrt(), r, 0)


def similarity_of_errors(mine: Float[Tensor, "#M B K"], theirs: Float[Tensor, "#M B K"]) -> Float[Tensor, "#M"]:
    """Mean over prompts of the cosine between the errors along its K places; with one place that of all prompts.

    Two predictors without any error on a prompt are alike (1), one with and one without are not (0).
    """
    if mine.shape[-1] == 1:
        mine, theirs = mine.mT, theirs.mT
    product = (mine * theirs).sum(-1)
    size, other = mine.square().sum(-1).sqrt(), theirs.square().sum(-1).sqrt()
    cosine = product / (size * other).clamp(min=torch.finfo(product.dtype).tiny)
    neither = ((size == 0) & (other == 0)).to(cosine)
    return (cosine + neither).mean(-1)


def fitted_weights(
    guesses: Float[Tensor, "#M B Q"], queries: Float[Tensor, "B Q D"]
) -> tuple[Float[Tensor, "#M B D"], Float[Tensor, "#M"]]:
    """The least-squares w of the guesses at Q queries of every context, and R²: 1 for a learner linear in the query."""
    solution = torch.linalg.pinv(queries)  # B D Q
    w = torch.einsum("bdq,mbq->mbd", solution, guesses)
    left = (torch.einsum("bqd,mbd->mbq", queries, w) - guesses).square().sum((1, 2))
    return w, 1 - left / guesses.square().sum((1, 2)).clamp(min=torch.finfo(w.dtype).tiny)


def weight_distance(mine: Float[Tensor, "#M B D"], theirs: Float[Tensor, "#M B D"]) -> Float[Tensor, "#M"]:
    """E |w − w'|² / D."""
    return (mine - theirs).square().mean((1, 2))


def similarity_of_weights(mine: Float[Tensor, "#M B D"], theirs: Float[Tensor, "#M B D"]) -> Float[Tensor, "#M"]:
    """Mean over prompts of the cosine; 0 where a weight is zero."""
    size = (mine.square().sum(-1) * theirs.square().sum(-1)).sqrt()
    return ((mine * theirs).sum(-1) / size.clamp(min=torch.finfo(size.dtype).tiny)).mean(-1)
