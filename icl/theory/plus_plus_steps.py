"""The best constants of GD++, by minimising the integral of its squared residual polynomial.

References:
    von Oswald et al. 2022, Transformers learn in-context by gradient descent, arXiv:2212.07677
    Ahn et al. 2023, Transformers learn to implement preconditioned gradient descent, arXiv:2306.00297
"""

from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor

from icl.theory.residual_polynomials import best_tied_step, residual
from icl.theory.spectrum import Spectrum

FIRST_STEPS, STEP_RATIOS = (0.3, 0.45, 0.7, 1.0), (1.5, 2.5, 4.0, 6.0)  # starts of an untied fit: η grows by a ratio
FIRST_GAMMAS, GAMMA_RATIOS = (0.15, 0.3, 0.45), (1.0, 2.0, 4.0, 6.0)  # and so does γ, in units of 1 / mean eigenvalue
N_STARTS = 16  # the best of them, from which it is made
N_THIN = 2000  # eigenvalues on which the starts are tried


def loss_of(constants: Float[Tensor, "2 L"], spectrum: Spectrum) -> Float[Tensor, ""]:
    """∫ p² dμ for (η, γ) of every step, differentiable."""
    return spectrum.mean(residual(spectrum.eigenvalues, constants[0], constants[1]).square())


def best_plus_plus_steps(spectrum: Spectrum, n_layers: int, *, tied: bool = True) -> Float[Tensor, "2 L"]:
    """(η, γ) of every layer with the least noiseless loss that was found, the same for all if `tied`.

    The tied fit starts from twice the best tied gradient step. The untied loss has several minima (the source's
    three layers end in η = 0.72, 2.65, 7.16, not the best of them): it is fitted from several starts with growing
    constants, and the best end is taken. The γ of the last layer moves nothing and is 0 then.
    """
    step_size = best_tied_step(spectrum, n_layers).step_size
    thin, scale = thinned(spectrum), spectrum.mean(spectrum.eigenvalues).item()
    shared = _fitted(torch.tensor([[2 * step_size], [0.15 / scale]], dtype=torch.float64), thin, n_layers)
    shared = _fitted(shared, spectrum, n_layers).expand(2, n_layers).clone()
    if tied or n_layers == 1:
        return shared
    starts = [start / scale for start in _growing(n_layers)]
    starts = sorted(starts, key=lambda start: loss_of(start, thin).item())[:N_STARTS]
    ends = [_fitted(start, thin, n_layers) for start in starts]
    ends = [end for end in ends if end.isfinite().all()]
    best = _fitted(min(ends, key=lambda end: loss_of(end, thin).item()), spectrum, n_layers)
    best[1, -1] = 0
    return best


def _growing(n_layers: int) -> list[Float[Tensor, "2 L"]]:
    l = torch.arange(n_layers, dtype=torch.float64)
    return [
        torch.stack([first * ratio**l, first_gamma * gamma_ratio**l])
        for first, ratio, first_gamma, gamma_ratio in product(FIRST_STEPS, STEP_RATIOS, FIRST_GAMMAS, GAMMA_RATIOS)
    ]


def thinned(spectrum: Spectrum) -> Spectrum:
    """At most N_THIN eigenvalues, means of neighbours of (nearly) equal number; the same spectrum if it has no more."""
    size = -(-len(spectrum.eigenvalues) // N_THIN)
    if size == 1:
        return spectrum
    order = spectrum.eigenvalues.argsort()
    weights = spectrum.weights[order].split(size)
    sums = (spectrum.eigenvalues * spectrum.weights)[order].split(size)
    weight = torch.stack([w.sum() for w in weights])
    eigenvalues = torch.stack([s.sum() for s in sums]) / weight
    return Spectrum(eigenvalues=eigenvalues, weights=weight, n_context=spectrum.n_context)


def _fitted(start: Float[Tensor, "2 K"], spectrum: Spectrum, n_layers: int) -> Float[Tensor, "2 K"]:
    """A local minimum of the logarithm of the loss by L-BFGS, K = 1 or L constants of each kind."""
    constants = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([constants], max_iter=1000, line_search_fn="strong_wolfe", tolerance_change=1e-14)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(constants.expand(2, n_layers), spectrum).log()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
    return constants.detach()
