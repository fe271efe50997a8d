"""How heavy the tails of the gradient noise are, and how ill-conditioned the loss.

References:
    Zhang et al. 2020, Why are adaptive methods good for attention models?, arXiv:1912.03194
    Ahn et al. 2023, Linear attention is (maybe) all you need, arXiv:2310.01082
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from icl.comparisons.measured import Curve, Measured
from icl.probes.loss_surface import LARGEST_EXACT
from icl.probes.training_loss import minibatch_gradients, minibatches, surface_of, training_samples, weights_at
from icl.rng import Draw
from icl.runs import Run

LEVELS = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999)
CHUNK = 250  # batches that are answered together


@dataclass(frozen=True, kw_only=True)
class GradientNoise:
    """ξ = |g_B − g| over minibatches at the weights after `step` updates, g the mean of their gradients.

    `n_prompts` prompts are cut into batches of `batch_size`; there are at least two batches.

    p99_over_median, max_over_median    of ξ: the tail; 1 if all batches are alike
    kurtosis                            of ξ, E (ξ − ξ̄)⁴ / Var²; it cannot exceed the number of batches
    robust_condition                    max |λ| / median |λ| of the Hessian on `n_curvature` of the prompts (nan above
                                        500 parameters, where it is not computed)
    """

    numbers: ClassVar[tuple[str, ...]] = ("p99_over_median", "max_over_median", "kurtosis", "robust_condition")
    step: int
    batch_size: int = 16
    n_prompts: int = 16_000
    n_curvature: int = 300

    def __post_init__(self) -> None:
        for name, low in (("step", 0), ("batch_size", 1), ("n_prompts", 1), ("n_curvature", 1)):
            if getattr(self, name) < low:
                raise ValueError(f"{name}={getattr(self, name)} must be >= {low}")

    @property
    def n_batches(self) -> int:
        return max(2, self.n_prompts // self.batch_size)

    @property
    def _n_curvature(self) -> int:
        return min(self.n_curvature, self.n_prompts)

    def measure_run(self, run: Run, draw: Draw) -> Measured:
        (theta,) = weights_at(run, [self.step]).values()
        norms = torch.stack([self._norms(run, row, member, draw) for member, row in enumerate(theta)])
        centred = norms - norms.mean(1, keepdim=True)
        median = norms.median(1).values
        levels = torch.quantile(norms, torch.tensor(LEVELS).to(norms), dim=1).T
        return Measured(
            numbers={
                "p99_over_median": levels[:, LEVELS.index(0.99)] / median,
                "max_over_median": norms.amax(1) / median,
                "kurtosis": centred.pow(4).mean(1) / centred.square().mean(1).square(),
                "robust_condition": self._condition(run, theta, draw),
            },
            curves={"tail": _curve(levels / median[:, None])},
        )

    def _norms(self, run: Run, theta: Float[Tensor, "F"], member: int, draw: Draw) -> Float[Tensor, "n"]:
        samples, gradients = training_samples(run, self._n_curvature, draw), []
        for start in range(0, self.n_batches, CHUNK):
            n = min(CHUNK, self.n_batches - start)
            chunk_draw = draw.at(start, f"{draw.name}/noise {member}")
            batches = minibatches(run, samples, n, self.batch_size, member, chunk_draw)
            gradients.append(minibatch_gradients(run, theta, batches))
        g = torch.cat(gradients)
        return (g - g.mean(0)).norm(dim=1)

    def _condition(self, run: Run, theta: Float[Tensor, "M F"], draw: Draw) -> Float[Tensor, "M"]:
        if theta.shape[1] > LARGEST_EXACT:
            return torch.full_like(theta[:, 0], torch.nan)
        size = torch.linalg.eigvalsh(surface_of(run, self._n_curvature, draw).hessian(theta)).abs()
        return size.amax(1) / size.median(1).values


def _curve(levels: Float[Tensor, "M K"]) -> Curve:
    return Curve(
        kind="line", title="Tail of the gradient noise", x_label="quantile over minibatches",
        y_label="|g_B − g| over its median", x=list(LEVELS), model=levels.tolist(), log_y=True,
    )  # fmt: skip
