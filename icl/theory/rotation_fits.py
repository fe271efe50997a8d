"""The best tied matrix of a looped layer on sampled covariances: of three parameters, symmetric, or free.

Every fit minimises the mean of ‖(I − A S)^L‖²_F over a fixed sample, by L-BFGS in float64, and is to be judged on a
fresh one, paired: the means have heavy tails, and a free matrix fits the sample (at d = 10 a rotation that is not
there, with fewer than 20,000 covariances). The three parameters hardly overfit: theirs is the gain to quote.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from icl.rng import Draw
from icl.theory.residual_polynomials import best_tied_step
from icl.theory.rotation import check_loops, empirical_covariances, residual_norms
from icl.theory.spectrum import wishart_spectrum

START_ANGLE = 0.3  # ω = 0 is stationary by symmetry, so a fit has to start away from it
ITERATIONS = 100  # of a fit of a whole matrix; one of three parameters needs no more than 30


class Gain(NamedTuple):
    """1 − E loss / E loss of the reference on the same samples, and t of the paired difference."""

    value: float
    t: float


class Rotation(NamedTuple):
    """The best of the family: its three parameters, and the gain over the best scalar on fresh covariances."""

    step_size: float  # β
    angle: float  # ω ≥ 0
    odd_step_size: float  # β₀, of the last coordinate when d is odd; β when it is even
    gain: Gain


def planes(
    step_size: float | Tensor, angle: float | Tensor, odd_step_size: float | Tensor, dim: int
) -> Float[Tensor, "D D"]:
    """blockdiag(βI + ωJ, .., βI + ωJ, β₀), J = [[0, −1], [1, 0]]; β₀ only when d is odd."""
    beta, omega, odd = (torch.as_tensor(v, dtype=torch.float64) for v in (step_size, angle, odd_step_size))
    eye, J, last = torch.zeros(3, dim, dim, dtype=torch.float64).unbind(0)
    for i in range(0, dim - 1, 2):
        eye[i, i] = eye[i + 1, i + 1] = J[i + 1, i] = 1
        J[i, i + 1] = -1
    if dim % 2:
        last[-1, -1] = 1
    return beta * eye + omega * J + odd * last


def best_scalar(n_context: int, dim: int, n_loops: int) -> Float[Tensor, "D D"]:
    """βI with the β that is best for standard normal inputs, exactly."""
    check_loops(n_loops)
    beta = best_tied_step(wishart_spectrum(n_context, dim), n_loops).step_size
    return beta * torch.eye(dim, dtype=torch.float64)


def best_planes(
    fitted_on: Float[Tensor, "K D D"], judged_on: Float[Tensor, "K2 D D"], n_context: int, n_loops: int
) -> Rotation:
    """The best blockdiag(βI + ωJ, .., β₀) on one sample, judged on another against the best scalar."""
    dim = fitted_on.shape[-1]
    scalar = best_scalar(n_context, dim, n_loops)
    beta = scalar[0, 0].item()
    found = minimise(
        lambda v: residual_norms(planes(v[0], v[1], v[2], dim), fitted_on, n_loops).mean(),
        torch.tensor([beta, START_ANGLE, beta], dtype=torch.float64),
        iterations=30,
    )
    gain = paired_gain(planes(found[0], found[1], found[2], dim), scalar, judged_on, n_loops)
    step_size, angle, odd = found.tolist()
    return Rotation(step_size, abs(angle), odd if dim % 2 else step_size, gain)


@lru_cache(maxsize=64)
def best_rotation(n_context: int, dim: int, n_loops: int, *, n_samples: int = 10_000) -> Float[Tensor, "D D"]:
    """`best_planes` as a matrix, for standard normal inputs: fitted on the same `n_samples` covariances every time."""
    draw = Draw([0], f"rotation/{n_context}/{dim}/{n_loops}", dtype=torch.float64)
    S = empirical_covariances(draw.normal(n_samples, n_context, dim))[0]
    found = best_planes(S, S, n_context, n_loops)
    return planes(found.step_size, found.angle, found.odd_step_size, dim)


def best_tied_matrix(
    covariances: Float[Tensor, "K D D"], n_loops: int, *, start: Float[Tensor, "D D"], symmetric: bool = False
) -> Float[Tensor, "D D"]:
    """The best A from `start` on one sample of covariances; `symmetric` asks it of (A + Aᵀ)/2, the control."""
    check_loops(n_loops)

    def matrix(v: Tensor) -> Tensor:
        return (v + v.mT) / 2 if symmetric else v

    return matrix(minimise(lambda v: residual_norms(matrix(v), covariances, n_loops).mean(), start))


def paired_gain(
    A: Float[Tensor, "D D"], reference: Float[Tensor, "D D"], covariances: Float[Tensor, "K D D"], n_loops: int
) -> Gain:
    """Of A over `reference` on the same covariances."""
    return gain_of(residual_norms(A, covariances, n_loops), residual_norms(reference, covariances, n_loops))


def gain_of(loss: Float[Tensor, "K"], reference: Float[Tensor, "K"]) -> Gain:
    """1 − mean loss / mean reference, and the t of their difference over its K pairs."""
    saved = reference - loss
    spread = saved.std().item()
    t = saved.mean().item() / spread * math.sqrt(len(saved)) if spread > 0 else 0.0
    return Gain((saved.mean() / reference.mean()).item(), t)


def minimise(loss: Callable[[Tensor], Tensor], start: Tensor, *, iterations: int = ITERATIONS) -> Tensor:
    """L-BFGS with a strong Wolfe search."""
    v = start.detach().clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [v], max_iter=iterations, tolerance_grad=1e-9, tolerance_change=1e-12, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(v)
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(closure)  # pyright: ignore[reportArgumentType]
    return v.detach()
