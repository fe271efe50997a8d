"""Why a looped layer rotates: the limit of many examples, where every dimension and two loops can be done by hand.

For n → ∞ the covariance is S = I + W/√n with W symmetric Gaussian, Var Wᵢⱼ = 1 off the diagonal and 2 on it. Put
A = I + Ω/√n, Ω skew: to first order I − A S = −(W + Ω)/√n, so n^L E‖(I − A S)^L‖² → E‖(W + Ω)^L‖².

Two loops, every d. E W² = (d+1) I and E WΩW = −Ω, so with E‖W²‖² = 2d³ + 5d² + 5d

    E‖(W + Ω)²‖² = E‖W²‖² + E‖WΩ + ΩW‖² + 2 E⟨W², Ω²⟩ + ‖Ω²‖²
                 = 2d³ + 5d² + 5d + 2d‖Ω‖² − 2(d+1)‖Ω‖² + ‖Ω²‖² = 2d³ + 5d² + 5d − 2‖Ω‖² + ‖Ω²‖².

The scalar is a saddle in every dimension d ≥ 2. With ⌊d/2⌋ planes of angle ω√n = u^½ the planes separate,
−4u + 2u² each, so the optimum is ω = 1/√n in every plane, and the gain is 2⌊d/2⌋ / (2d³ + 5d² + 5d).

Two dimensions, every L. Write W/√n = τI + D, D traceless symmetric with D² = δ²I, and J for the rotation by 90°.
J D = −D J, hence (D + ωJ)² = (δ² − ω²) I: the rotation turns the double root of a repeated step into a pair of
complex roots, that is, one tied matrix imitates steps of different sizes, as untied (Chebyshev) steps would. Then

    (I − AS)^L = ±[p I + q (D + ωJ)],   p = Σ_{k even} C(L,k) τ^(L−k) (δ²−ω²)^(k/2),   q: k odd, (k−1)/2,
    ½ E‖(I − AS)^L‖² = E[p² + q² (δ² + ω²)],      E τ²ᵏ = (2k−1)!! aᵏ,   E δ²ᵏ = 2ᵏ k! aᵏ,   a = 1/n,

which is a^L f_L(nω²) with integer coefficients. L = 2: 23a² − 2aω² + ω⁴, least at ω = 1/√n, gain 1/23.
(A multiple bI/√n added to A leaves it stationary at b = 0: (W, Ω, b) → −(W, Ω, b) and ω → −ω change nothing.)
"""

from math import comb, factorial, prod
from typing import NamedTuple

import numpy as np
from numpy.polynomial import polynomial


class Limit(NamedTuple):
    """ω√n of the best rotation, and the share of the scalar's loss that it takes away."""

    angle: float
    gain: float


def two_loops(dim: int) -> Limit:
    """n → ∞, L = 2, any d ≥ 2."""
    if dim < 2:
        raise ValueError(f"dim={dim} must be >= 2: one dimension has no rotation")
    return Limit(1.0, 2 * (dim // 2) / (2 * dim**3 + 5 * dim**2 + 5 * dim))


def planar_polynomial(n_loops: int) -> list[int]:
    """f_L: ½ E‖(I − AS)^L‖² → n^(−L) f_L(nω²) for d = 2, ascending coefficients."""
    if n_loops < 1:
        raise ValueError(f"n_loops={n_loops} must be >= 1")
    form: dict[tuple[int, int], int] = {}  # Σ c τ^(2·t) δ^(2v) w^(L−t−v), w = nω²; keys (t, v)
    for j in range(n_loops + 1):
        for k in range(j % 2, n_loops + 1, 2):
            half = (j + k) // 2 - (j % 2)
            for v in range(half + 1):
                c = comb(n_loops, j) * comb(n_loops, k) * comb(half, v) * (-1) ** (half - v)
                t = (2 * n_loops - j - k) // 2
                for extra in (0, 1) if j % 2 else (0,):  # q² (δ² + ω²)
                    form[t, v + extra] = form.get((t, v + extra), 0) + c
    coefficients = [0] * (n_loops + 1)
    for (t, v), c in form.items():
        coefficients[n_loops - t - v] += c * prod(range(1, 2 * t, 2)) * 2**v * factorial(v)
    return coefficients


def planar(n_loops: int) -> Limit:
    """n → ∞, d = 2, any L; angle 0 and gain 0 where the scalar is best (L = 1)."""
    f = np.array(planar_polynomial(n_loops), dtype=float)
    roots = polynomial.polyroots(polynomial.polyder(f)) if n_loops > 1 else np.zeros(0)
    candidates = [0.0, *(r.real for r in roots if abs(r.imag) < 1e-9 and r.real > 0)]
    u = min(candidates, key=lambda u: polynomial.polyval(u, f))
    return Limit(float(np.sqrt(u)), float(1 - polynomial.polyval(u, f) / f[0]))
