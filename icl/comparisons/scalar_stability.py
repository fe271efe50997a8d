"""Where the best matrix of a looped layer stops being a multiple of the identity: over dimensions, examples and loops.

Nothing here asks the trained model: it is the map on which a trained model is one point.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from icl.comparisons.measured import Curve, Measured
from icl.rng import Draw
from icl.theory.rotation import check_loops, curvature, empirical_covariances
from icl.theory.rotation_fits import Rotation, best_planes
from icl.theory.rotation_limit import planar

SEEN = 3.0  # t of a gain that is one


@dataclass(frozen=True, kw_only=True)
class ScalarStability:
    """Two tests of A = βI for inputs N(0, I_d), n = ratio · d examples and L loops, of every combination.

        curvature   of the loss at the best scalar along rotations, exact; negative: a saddle
        gain        of blockdiag(βI + ωJ, .., β₀) over the best scalar, fitted on `n_prompts` covariances and judged
                    on as many others, for the dimensions `fitted_dims`; and its angle ω and paired t

        agreement   share of the fitted combinations in which both say the same (a gain has t > 3)
        saddles     share of all combinations that are saddles
        hidden      share of the fitted ones that are minima along rotations and yet gain: a jump, no bifurcation

    A record for figures (kind "map", x: ratio, y: loops), and for d = 2 the gain and the angle over n beside their
    limits (icl.theory.rotation_limit).
    """

    numbers: ClassVar[tuple[str, ...]] = ("agreement", "saddles", "hidden")
    dims: Sequence[int] = (2, 5, 10)
    fitted_dims: Sequence[int] = (2, 5)
    ratios: Sequence[float] = (2, 3, 4, 6, 8, 10, 20)
    loops: Sequence[int] = (2, 3, 4, 5, 6)
    planar_contexts: Sequence[int] = (10, 20, 50, 100, 200, 500)
    planar_loops: Sequence[int] = (2, 3, 4)
    n_prompts: int = 20_000

    def __post_init__(self) -> None:
        if self.n_prompts < 2 or not self.dims or min(self.dims) < 2 or not set(self.fitted_dims) <= set(self.dims):
            raise ValueError(
                f"n_prompts={self.n_prompts} must be >= 2, dims={list(self.dims)} >= 2 and fitted_dims among them"
            )
        for n_loops in (*self.loops, *self.planar_loops):
            check_loops(n_loops)

    def measure(self, model: Any, reference: Any, task: Any, draw: Draw) -> Measured:
        bent = {key: curvature(context(key), key[0], key[2]) for key in product(self.dims, self.ratios, self.loops)}
        fits = {
            key: self._fit(key[0], context(key), key[2], draw)
            for key in product(self.fitted_dims, self.ratios, self.loops)
        }
        gains = {key: fit.gain.t > SEEN for key, fit in fits.items()}
        saddles = torch.tensor([value < 0 for value in bent.values()]).double().mean()
        same = torch.tensor([gains[key] == (bent[key] < 0) for key in gains]).double().mean()
        hidden = torch.tensor([gains[key] and bent[key] >= 0 for key in gains]).double().mean()
        curves = {f"curvature_d{d}": self._map("curvature along rotations", d, bent) for d in self.dims}
        for name, read in (("gain", lambda f: f.gain.value), ("t", lambda f: f.gain.t), ("angle", lambda f: f.angle)):
            values = {key: read(fit) for key, fit in fits.items()}
            curves |= {f"{name}_d{d}": self._map(name, d, values) for d in self.fitted_dims}
        return Measured(
            numbers={"agreement": same[None], "saddles": saddles[None], "hidden": hidden[None]},
            curves=curves | self._planar(draw), n_prompts=self.n_prompts,
        )  # fmt: skip

    def _fit(self, dim: int, n_context: int, n_loops: int, draw: Draw) -> Rotation:
        fitted_on, judged_on = (self._covariances(dim, n_context, which, draw) for which in ("fit", "judge"))
        return best_planes(fitted_on, judged_on, n_context, n_loops)

    def _covariances(self, dim: int, n_context: int, which: str, draw: Draw) -> Float[Tensor, "K D D"]:
        stream = Draw(draw.seeds, f"{draw.name}/stability/{which}/{dim}/{n_context}", dtype=torch.float64)
        return empirical_covariances(stream.normal(self.n_prompts, n_context, dim)[0])

    def _map(self, what: str, dim: int, values: dict[tuple[int, float, int], float]) -> Curve:
        rows = [[values[dim, ratio, n_loops] for ratio in self.ratios] for n_loops in self.loops]
        return Curve(
            kind="map", title=f"{what}, d = {dim}", x_label="examples a dimension, n/d", y_label="loops, L",
            x=list(self.ratios), y=list(self.loops), model=rows,
        )  # fmt: skip

    def _planar(self, draw: Draw) -> dict[str, Curve]:
        """d = 2: the share of the loss gained, and ω√n, over n, each row with its limit n → ∞."""
        fits = [[self._fit(2, n, n_loops, draw) for n in self.planar_contexts] for n_loops in self.planar_loops]
        roots = [n**0.5 for n in self.planar_contexts]
        found = {
            "gain": ([[fit.gain.value for fit in row] for row in fits], [planar(L).gain for L in self.planar_loops]),
            "angle": (
                [[fit.angle * root for fit, root in zip(row, roots, strict=True)] for row in fits],
                [planar(L).angle for L in self.planar_loops],
            ),
        }
        return {
            f"planar_{name}": Curve(
                kind="map", title=f"d = 2: {'share of the loss gained' if name == 'gain' else 'ω √n'}",
                x_label="examples, n", y_label="loops, L", x=list(self.planar_contexts), y=list(self.planar_loops),
                model=rows, reference=[[limit] for limit in limits], reference_label="n → ∞, exact",
            )
            for name, (rows, limits) in found.items()
        }  # fmt: skip


def context(key: tuple[int, float, int]) -> int:
    """n of (d, n/d, L)."""
    return round(key[0] * key[1])
