"""Linear attention whose layers are steps of gradient descent, or of GD++.

References:
    von Oswald et al. 2022, Transformers learn in-context by gradient descent, arXiv:2212.07677 (Prop. 1,
    appendix on GD++) Ahn et al. 2023, Transformers learn to implement preconditioned gradient descent,
    arXiv:2306.00297
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


def linear_attention_as_gd(
    *,
    dim: int,
    n_context: int,
    n_layers: int = 1,
    step_size: float | Sequence[float],
    preconditioner: Float[Tensor, "D D"] | Sequence[Float[Tensor, "D D"]] | None = None,
    w_init: Float[Tensor, "D *out"] | None = None,
    n_outputs: int | None = None,
    normalize: bool = False,
) -> dict[str, Tensor]:
    """Factored weights whose layers are steps w ← w − η Γ ∇L(w), L = 1/(2N) Σᵢ |⟨w, xᵢ⟩ − yᵢ|².

        W_K = [I 0; 0 0],   W_Q = [Γᵀ 0; 0 0],   W_V = [0 0; w_initᵀ −I],   W_O = (η/N) [0 0; 0 I]

    so y_j ← y_j − (η/N) Σᵢ (y_i − w_initᵀ x_i) ⟨x_i, Γᵀ x_j⟩. After t layers y_j holds y_j − (w_t − w_init)ᵀ
    x_j, and the query, which starts from −w_initᵀ x_query, minus the guess. Float64, M = 1; η and Γ one for
    all layers or one a layer. With `normalize` the layer divides by N, and W_O does not. One layer serves a
    tied stack of any depth.

    Raises:
        ValueError: a size below 1, or a Γ or w_init of another shape than (D, D) or (D, O).
    """
    _check(dim, n_context, n_layers, preconditioner, w_init, n_outputs)
    n_labels = n_outputs or 1
    w_init = torch.zeros(dim, n_labels).double() if w_init is None else w_init.double().reshape(dim, n_labels)
    state = _zeros(dim + n_labels, n_layers) | {"w_init": w_init.T[None].clone()}
    scale = 1.0 if normalize else 1 / n_context
    identity, labels = torch.eye(dim).double(), torch.eye(n_labels).double()
    for layer, (eta, gamma) in enumerate(zip(_each(step_size, n_layers), _each(preconditioner, n_layers))):
        state["W_K"][0, layer, :dim, :dim] = identity
        state["W_Q"][0, layer, :dim, :dim] = identity if gamma is None else gamma.T
        state["W_V"][0, layer, dim:] = torch.cat([w_init.T, -labels], 1)
        state["W_O"][0, layer, dim:, dim:] = scale * eta * labels
    return state


def linear_attention_as_gd_plus_plus(
    *,
    dim: int,
    n_context: int,
    n_layers: int = 1,
    step_size: float | Sequence[float],
    curvature_step_size: float | Sequence[float],
    n_outputs: int | None = None,
    normalize: bool = False,
) -> dict[str, Tensor]:
    """Factored weights of GD++ from zero: a GD step on y, and x_j ← x_j − (γ/N) Σᵢ x_i ⟨x_i, x_j⟩.

        W_K = W_Q = [I 0; 0 0],   W_V = [I 0; 0 −I],   W_O = [−(γ/N) I 0; 0 (η/N) I]

    γ > 0 shrinks the long directions of x: g = γ/N and h = η/N in the source's P = diag(−g, .., −g, h). There
    is no `w_init`: w_initᵀ x_i of the inputs as given cannot be read from the moved ones.
    """
    state = linear_attention_as_gd(
        dim=dim,
        n_context=n_context,
        n_layers=n_layers,
        step_size=step_size,
        n_outputs=n_outputs,
        normalize=normalize,
    )
    scale = 1.0 if normalize else 1 / n_context
    for layer, gamma in enumerate(_each(curvature_step_size, n_layers)):
        state["W_V"][0, layer, :dim, :dim] = torch.eye(dim).double()
        state["W_O"][0, layer, :dim, :dim] = -scale * gamma * torch.eye(dim).double()
    return state


def merged(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same layers for `parametrization="merged"`: P = W_O W_V, Q = W_Kᵀ W_Q."""
    P, Q = state["W_O"] @ state["W_V"], state["W_K"].mT @ state["W_Q"]
    return {"P": P, "Q": Q, "w_init": state["w_init"]}


def _check(dim: int, n_context: int, n_layers: int, preconditioner: Any, w_init: Any, n_outputs: int | None) -> None:
    """ValueError for constants that fit no layer of this shape."""
    for name, size in {"dim": dim, "n_context": n_context, "n_layers": n_layers, "n_outputs": n_outputs or 1}.items():
        if size < 1:
            raise ValueError(f"{name}={size} must be >= 1")
    if w_init is not None and w_init.numel() != dim * (n_outputs or 1):
        raise ValueError(f"w_init has shape {tuple(w_init.shape)}, dim={dim} needs {(dim, n_outputs or 1)}")
    for gamma in _each(preconditioner, n_layers):
        if gamma is not None and gamma.shape != (dim, dim):
            raise ValueError(f"preconditioner has shape {tuple(gamma.shape)}, dim={dim} needs {(dim, dim)}")


def _zeros(size: int, n_layers: int) -> dict[str, Tensor]:
    names = ("W_K", "W_Q", "W_V", "W_O")
    return {name: torch.zeros(1, n_layers, size, size, dtype=torch.float64) for name in names}


def _each(value: Any, n_layers: int) -> list[Any]:
    """The constant of every layer.

    Raises:
        ValueError: a sequence with another number of entries.
    """
    if not isinstance(value, Sequence):
        return [value] * n_layers
    if len(value) != n_layers:
        raise ValueError(f"{len(value)} constants for n_layers={n_layers}: give one, or one a layer")
    return list(value)
