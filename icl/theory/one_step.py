"""The best one step of gradient descent, which is the best that one layer of linear attention can do.

All predictions are sums over the n = `n_context` pairs, ŷ = η x_qᵀ Σ yᵢxᵢ or x_qᵀ Γ Σ yᵢxᵢ: a layer that
divides by n has step n η. All losses are the excess mse, on the clean query target; add σ² for a noisy one.

References:
    Mahankali, Hashimoto, Ma (2023), arXiv:2307.03576; Ahn et al. (2023), arXiv:2306.00297, Theorem 1;
    Zhang, Frei, Bartlett (2023), arXiv:2306.09927; von Oswald et al. (2022), arXiv:2212.07677.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class OneStep(NamedTuple):
    """A step size in units of the sum over the context, and its excess mse."""

    step_size: float
    mse: float


def iid_mse(
    step_size: float,
    *,
    n_context: int,
    dim: int,
    x_variance: float = 1.0,
    kurtosis: float = 3.0,
    w_std: float = 1.0,
    noise_std: float = 0.0,
) -> float:
    """Excess mse of ŷ = η x_qᵀ Σ yᵢxᵢ for i.i.d. symmetric coordinates of x and w ~ N(0, w_std² I).

    d v w² [1 − 2ηnv + η²nv (v(n+d−2+κ) + σ²/w²)], with v = E x², κ = E x⁴/v² (Gaussian 3, uniform 1.8).
    """
    gain = step_size * n_context * x_variance
    per_step = x_variance * (n_context + dim - 2 + kurtosis) + (noise_std / w_std) ** 2
    return dim * x_variance * w_std**2 * (1 - 2 * gain + gain * step_size * per_step)


def iid_optimum(
    *,
    n_context: int,
    dim: int,
    x_variance: float = 1.0,
    kurtosis: float = 3.0,
    w_std: float = 1.0,
    noise_std: float = 0.0,
) -> OneStep:
    """η* = 1/(v(n+d−2+κ) + σ²/w²), mse* = d v w² (1 − n v η*). Gaussian, unit: 1/(n+d+1+σ²)."""
    step_size = 1 / (x_variance * (n_context + dim - 2 + kurtosis) + (noise_std / w_std) ** 2)
    return OneStep(step_size, dim * x_variance * w_std**2 * (1 - n_context * x_variance * step_size))


def uniform_mse(
    step_size: float,
    *,
    input_range: float,
    n_context: int,
    dim: int,
    w_std: float = 1.0,
    noise_std: float = 0.0,
) -> float:
    """Excess mse of a fixed step at another input range, x ~ U(−r/2, r/2)^d: v = r²/12, κ = 9/5."""
    return iid_mse(
        step_size,
        n_context=n_context,
        dim=dim,
        x_variance=input_range**2 / 12,
        kurtosis=1.8,
        w_std=w_std,
        noise_std=noise_std,
    )


def optimal_preconditioner(
    *,
    n_context: int,
    covariance: Float[Tensor, "D D"],
    w_covariance: Float[Tensor, "D D"],
    noise_std: float = 0.0,
) -> Float[Tensor, "D D"]:
    """Γ* = ((n+1) Σ + (tr ΣΛ + σ²) Λ⁻¹)⁻¹ for x ~ N(0, Σ), w ~ N(0, Λ); Λ may be singular."""
    product = covariance @ w_covariance
    level = product.trace() + noise_std**2
    identity = torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
    return torch.linalg.solve((n_context + 1) * product + level * identity, w_covariance, left=False)


def preconditioned_mse(
    preconditioner: Float[Tensor, "*batch D D"],
    *,
    n_context: int,
    covariance: Float[Tensor, "D D"],
    w_covariance: Float[Tensor, "D D"],
    noise_std: float = 0.0,
) -> Float[Tensor, "*batch"]:
    """Excess mse of ŷ = x_qᵀ Γ Σ yᵢxᵢ for any Γ, exact, differentiable; x ~ N(0, Σ), w ~ N(0, Λ).

    tr ΣΛ − 2n tr ΣΓΣΛ + tr ΣΓMΓᵀ with M = E[XᵀyyᵀX] = n(n+1) ΣΛΣ + n (tr ΣΛ + σ²) Σ.
    """
    n, product = n_context, covariance @ w_covariance
    second = n * (n + 1) * product @ covariance + n * (product.trace() + noise_std**2) * covariance
    weighted = covariance @ preconditioner
    quadratic = ((weighted @ second) * preconditioner).sum((-2, -1))
    return product.trace() - 2 * n * (weighted * product.T).sum((-2, -1)) + quadratic


def preconditioned_optimum_mse(
    *,
    n_context: int,
    covariance: Float[Tensor, "D D"],
    w_covariance: Float[Tensor, "D D"],
    noise_std: float = 0.0,
) -> float:
    """Excess mse of Γ*: tr ΣΛ − n tr ΣΓ*ΣΛ."""
    gamma = optimal_preconditioner(
        n_context=n_context, covariance=covariance, w_covariance=w_covariance, noise_std=noise_std
    )
    product = covariance @ w_covariance
    return (product.trace() - n_context * (covariance @ gamma @ product).trace()).item()


def nonlinear_mse(
    step_size: float,
    *,
    n_context: int,
    dim: int,
    beta: float,
    power: float,
    weighted: float,
    noise_std: float = 0.0,
) -> float:
    """Excess mse of ŷ = η x_qᵀ Σ yᵢxᵢ for y = f(x) + ε, x ~ N(0, I_d), f random.

    F − 2ηnβ + η²n (G + dσ² + (n−1)β), with b_f = E_x f(x)x and β = E‖b_f‖², F = E f² = `power`,
    G = E f²‖x‖² = `weighted`. Linear f of w ~ N(0, I_d): β = F = d, G = d(d+2).
    """
    second = weighted + dim * noise_std**2 + (n_context - 1) * beta
    return power - 2 * step_size * n_context * beta + step_size**2 * n_context * second


def nonlinear_optimum(
    *, n_context: int, dim: int, beta: float, power: float, weighted: float, noise_std: float = 0.0
) -> OneStep:
    """η* = β/(G + dσ² + (n−1)β), mse* = F − n β η*.

    No other one-layer weights do better when the law of f is invariant to rotations of x and to sign changes.
    """
    step_size = beta / (weighted + dim * noise_std**2 + (n_context - 1) * beta)
    return OneStep(step_size, power - n_context * beta * step_size)


def relu_optimum(*, n_context: int, dim: int, noise_std: float = 0.0) -> OneStep:
    """f = √(2/h) Σⱼ aⱼ relu(⟨wⱼ, x⟩), standard normal a and w, any width h: η* = 1/(n+2d+3+2σ²)."""
    moments = {"beta": dim / 2, "power": float(dim), "weighted": float(dim * (dim + 2))}
    return nonlinear_optimum(n_context=n_context, dim=dim, noise_std=noise_std, **moments)


def quadratic_optimum(*, n_context: int, dim: int, noise_std: float = 0.0) -> OneStep:
    """f = Σⱼ wⱼ xⱼ² / √3, w ~ N(0, I_d): b_f = 0, so no step helps and the mse stays at F = d."""
    moments = {"beta": 0.0, "power": float(dim), "weighted": float(dim * (dim + 4))}
    return nonlinear_optimum(n_context=n_context, dim=dim, noise_std=noise_std, **moments)


def sign_optimum(*, n_context: int, dim: int, noise_std: float = 0.0) -> OneStep:
    """f = sign⟨w, x⟩: b_f = √(2/π) w/‖w‖, so η* = (2/π)/(d(1+σ²) + (n−1) 2/π)."""
    moments = {"beta": 2 / math.pi, "power": 1.0, "weighted": float(dim)}
    return nonlinear_optimum(n_context=n_context, dim=dim, noise_std=noise_std, **moments)
