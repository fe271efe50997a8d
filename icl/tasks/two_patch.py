"""Noisy two-patch classification: one patch holds the signal, the other noise that a model can memorise.

References:
    Li, Huang, Han, Zhou, Suzuki, Zhu, Chen 2025, On the optimization and generalization of two-layer transformers with
        sign gradient descent, arXiv:2410.04870
"""

import math
from dataclasses import dataclass

import torch

from icl.core import Prompt, Sample
from icl.rng import Draw


@dataclass(frozen=True, kw_only=True)
class TwoPatch:
    """A prompt is two patches of D numbers, its label y ∈ {−1, 1} with equal chances:

        signal y μ,  μ = e_1            noise ξ: s of the other D − 1 coordinates, chosen anew, from N(0, σ²)

    The signal is the one token of the context, the noise the query; the two-patch model treats them alike. s is
    `n_noisy`, σ `noise_std`. Labels of the context do not exist: y has size 0.
    """

    dim: int
    n_noisy: int
    noise_std: float
    n_context: int = 1

    def __post_init__(self) -> None:
        if self.dim < 2:
            raise ValueError(f"dim={self.dim} must be >= 2")
        if not 1 <= self.n_noisy <= self.dim - 1:
            raise ValueError(f"n_noisy={self.n_noisy} must be in 1..{self.dim - 1} (dim - 1: one holds the signal)")
        if not (self.noise_std >= 0 and math.isfinite(self.noise_std)):
            raise ValueError(f"noise_std={self.noise_std} must be >= 0 and finite")
        if self.n_context != 1:
            raise ValueError(f"n_context={self.n_context} must be 1: the signal, beside the noise")

    def sample(self, batch_size: int, draw: Draw) -> Sample:
        label = 2.0 * draw.integers(2, batch_size).to(draw.dtype) - 1
        chosen = draw.permutations(batch_size, self.dim - 1) < self.n_noisy  # the ranks of random numbers
        noise = draw.normal(batch_size, self.dim - 1) * (self.noise_std * chosen)
        noise = torch.cat([torch.zeros_like(noise[..., :1]), noise], -1)
        signal = torch.zeros_like(noise)
        signal[..., 0] = label
        return Sample(Prompt(signal[:, :, None], noise.new_zeros(*noise.shape[:2], 1, 0), noise), label, None)
