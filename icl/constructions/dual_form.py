"""The dual form: linear attention over demonstrations adds to a layer what a step of gradient descent would add.

References:
    Dai et al. 2022, Why can GPT learn in-context?, arXiv:2212.10559, section 3
    Irie et al. 2022, The dual form of neural networks revisited, arXiv:2202.05798
"""

import torch
from jaxtyping import Float
from torch import Tensor


def zero_shot_weight(
    W_V: Float[Tensor, "O D"], W_K: Float[Tensor, "O D"], x: Float[Tensor, "D S"]
) -> Float[Tensor, "O O"]:
    """W_ZSL = W_V X (W_K X)ᵀ: what attention to the query's own tokens X does to q, without softmax and scale."""
    return W_V @ x @ (W_K @ x).T


def demonstrations_as_update(
    W_V: Float[Tensor, "O D"], W_K: Float[Tensor, "O D"], demos: Float[Tensor, "D N"]
) -> Float[Tensor, "O O"]:
    """ΔW_ICL = Σᵢ (W_V x'ᵢ) ⊗ (W_K x'ᵢ), so that F_ICL(q) = (W_ZSL + ΔW_ICL) q.

    It is the step of gradient descent, with rate one, on the linear layer k ↦ W k for the inputs kᵢ = W_K x'ᵢ when the
    loss pulls its outputs along vᵢ = W_V x'ᵢ:  L(W) = −Σᵢ ⟨vᵢ, W kᵢ⟩,  −∇L = Σᵢ vᵢ ⊗ kᵢ. An identity for linear
    attention only: softmax, scale, norms and rotations of positions are outside it.
    """
    return torch.einsum("on,pn->op", W_V @ demos, W_K @ demos)
