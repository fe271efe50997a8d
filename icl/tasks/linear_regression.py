"""In-context regression y = f(x) with linear, sparse, ReLU-network or quadratic targets, and classification.

References:
    von Oswald et al. 2022, Transformers learn in-context by gradient descent, arXiv:2212.07677
    Mahankali, Hashimoto, Ma 2023, One step of gradient descent is provably optimal, arXiv:2307.03576
    Garg et al. 2022, What can transformers learn in-context?, arXiv:2208.01066
    Ahn et al. 2023, Linear attention is (maybe) all you need, arXiv:2310.01082 (heavy-tailed inputs)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from icl.constants import there
from icl.core import Prompt, Sample
from icl.rng import Draw
from icl.tasks.function_classes import quadratic, relu_network, sparse_mask
from icl.tasks.linear_regression_law import GAMMA_SCALE, GAMMA_SHAPE
from icl.tasks.linear_regression_theory import LinearRegressionTheory
from icl.tasks.shifts import Shift, shift_inputs


@dataclass(frozen=True, kw_only=True)
class LinearRegression(LinearRegressionTheory):
    """Prompts (x_i, y_i), i = 1..N, and a query, for a function drawn anew for every prompt.

        x = r A z,   z ~ N(0, I_D) or U(-1/2, 1/2)^D,   A A^T = U diag(spectrum) U^T
        y_i = f(x_i) + noise_std ε_i,   target = f(x_query)  (without noise)

        linear      f(x) = ⟨w, x⟩,                      w ~ weight_scale N(0, Λ)
        sign        f(x) = weight_scale sign⟨w, x⟩,     the same w
        relu        f(x) = √(2/h) Σ_k a_k max(0, ⟨w_k, x⟩),   a, w_k standard normal
        quadratic   f(x) = Σ_k w_k x_k² / √3,           w ~ N(0, I)

    The last two are multiplied by `weight_scale`. With `n_nonzero` = s only s random coordinates of w are not zero,
    drawn anew for every prompt, of those of x that vary.
    r is `input_scale`: for uniform inputs the width of the range (von Oswald's r = 1 is U(-1/2, 1/2)), for Gaussian
    ones a standard deviation. `inputs="gamma"` has heavy tails: z is uniform on the sphere times √g,
    g ~ Gamma(0.1, 10), so E |z|² = 1. `w_covariance` is Λ: I, Σ⁻¹, or any positive definite matrix given by rows.
    `n_distractors` random positions of the context get a label from N(0, 1) instead of their own.
    With `n_active` < D only the first coordinates of x vary, the others are zero (a curriculum over dimensions).
    With `positions="every"` the target is f at all P = N + 1 inputs, "#M B P", the query last.
    A shift at test time is another task: `dataclasses.replace(task, input_scale=2.0)`, or one of the named
    `shift`s (`icl.tasks.shifts`, which also lists them all).
    """

    dim: int
    n_context: int
    inputs: Literal["gaussian", "uniform", "gamma"] = "gaussian"
    input_scale: float = 1.0
    covariance_spectrum: Sequence[float] | None = None
    rotation_seed: int | None = None
    w_covariance: Literal["identity", "inverse_covariance"] | Sequence[Sequence[float]] = "identity"
    weight_scale: float = 1.0
    noise_std: float = 0.0
    n_distractors: int = 0
    target: Literal["linear", "sign", "relu", "quadratic"] = "linear"
    n_hidden: int = 100
    n_outputs: int | None = None
    n_active: int | None = None
    n_nonzero: int | None = None
    positions: Literal["query", "every"] = "query"
    shift: Shift | None = None

    def sample(self, batch_size: int, draw: Draw) -> Sample:
        """Prompts of the members of `draw`; labels have shape () or, with `n_outputs`, (O,).

        Inputs are drawn with the batch as the last axis and returned as permuted views: every elementwise
        operation of the fast forms then runs along contiguous memory.
        """
        x = self.draw_inputs(batch_size, draw)
        return self.prompts(x, *self._function(x, draw), draw)

    def draw_inputs(self, batch_size: int, draw: Draw) -> Float[Tensor, "M P D B"]:
        """The inputs of the context and, last, the query."""
        shape = (self.n_context + 1, self.dim, batch_size)
        z = draw.uniform(*shape).sub_(0.5) if self.inputs == "uniform" else draw.normal(*shape)
        if self.inputs == "gamma":
            squares = GAMMA_SCALE * draw.gamma(GAMMA_SHAPE, self.n_context + 1, 1, batch_size)
            z = z * (squares.sqrt() / z.norm(dim=2, keepdim=True))
        if self.covariance_spectrum is not None:
            z = there(self._x_root, z.device, z.dtype) @ z
        if self.input_scale != 1:
            z = z.mul_(self.input_scale)
        if self.n_active is not None:
            z[:, :, self.n_active :] = 0
        return z if self.shift is None else shift_inputs(z, self.shift, draw)

    def prompts(self, x: Float[Tensor, "M P D B"], label: Tensor, w_star: Tensor | None, draw: Draw) -> Sample:
        """Inputs and labels (M, P, B) or (M, P, B, O) as a sample, with the noise of the labels that are shown."""
        y, target = label[:, :-1].transpose(1, 2), label[:, -1]
        if self.positions == "every":
            target = label.transpose(1, 2)
        if self.noise_std > 0:
            y = y + self.noise_std * draw.normal(*y.shape[1:])
        if self.n_distractors > 0:
            y = self._distracted(y, draw)
        x = x.permute(0, 3, 1, 2)
        return Sample(Prompt(x[:, :, :-1], y, x[:, :, -1]), target, w_star)

    def _function(self, x: Float[Tensor, "M P D B"], draw: Draw) -> tuple[Tensor, Tensor | None]:
        """Labels, and the weights if they are ⟨w, x⟩."""
        if self.target == "quadratic":
            return self.weight_scale * quadratic(x, draw), None
        if self.target == "relu":
            return self.weight_scale * relu_network(x, draw, self.n_hidden), None
        w = draw.normal(self.dim, x.shape[-1], *self._out)  # (M, D, B, *out)
        if self.w_covariance != "identity":
            w = torch.einsum("ij,mj...->mi...", there(self._w_root, w.device, w.dtype), w)
        if self.n_nonzero is not None:
            w = w * sparse_mask(self.n_nonzero, self.n_active or self.dim, draw, *w.shape[1:])
        w = w * self.weight_scale if self.weight_scale != 1 else w
        label = torch.einsum("mndb,mdbo->mnbo", x, w) if self._out else (x * w[:, None]).sum(2)
        if self.target == "sign":
            return self.weight_scale * label.sign(), None
        return label, w.transpose(1, 2)

    def _distracted(self, y: Float[Tensor, "M B N *out"], draw: Draw) -> Float[Tensor, "M B N *out"]:
        where = draw.permutations(y.shape[1], self.n_context) < self.n_distractors
        return torch.where(where[(...,) + (None,) * len(self._out)], draw.normal(*y.shape[1:]), y)

    @property
    def _out(self) -> tuple[int, ...]:
        return () if self.n_outputs is None else (self.n_outputs,)

    @cached_property
    def _x_root(self) -> Float[Tensor, "D D"]:
        return self._shape_matrix

    @cached_property
    def _w_root(self) -> Float[Tensor, "D D"]:
        return torch.linalg.cholesky(self.w_covariance_matrix() / self.weight_scale**2)
