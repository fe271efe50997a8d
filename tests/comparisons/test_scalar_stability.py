"""The phase diagram: small grids, of which the table of `tests/theory/test_rotation.py` knows the cells."""

import pytest
import torch

from icl.comparisons.scalar_stability import ScalarStability
from icl.rng import Draw
from icl.theory.rotation import curvature
from icl.theory.rotation_limit import planar

SMALL = {"planar_contexts": (200,), "planar_loops": (3,), "n_prompts": 6000}
DRAW = Draw([0], "comparison", dtype=torch.float64)


def test_curvature_and_fits_say_the_same():
    comparison = ScalarStability(dims=(2, 5), fitted_dims=(5,), ratios=(4, 8), loops=(3, 4), **SMALL)
    found = comparison.measure(None, None, None, DRAW)
    assert found.numbers["agreement"] == 1
    assert found.numbers["hidden"] == 0
    cells = found.curves["curvature_d5"]
    assert cells.model == [[curvature(20, 5, L), curvature(40, 5, L)] for L in (3, 4)]
    assert (list(cells.x), list(cells.y), cells.kind) == ([4, 8], [3, 4], "map")
    gain, angle = found.curves["gain_d5"].model, found.curves["angle_d5"].model
    assert gain[0][0] == pytest.approx(0, abs=0.005)
    assert gain[1][1] == pytest.approx(0.24, abs=0.05)
    assert angle[1] == pytest.approx([0.356, 0.327], rel=0.1)
    assert found.numbers["saddles"] == 5 / 8  # all but L = 3 at n/d = 4, and d = 2 at n/d = 4
    assert set(found.curves) >= {"curvature_d2", "t_d5", "planar_gain", "planar_angle"}
    assert "gain_d2" not in found.curves


def test_two_dimensions_stand_beside_their_limit():
    found = ScalarStability(dims=(2,), fitted_dims=(), ratios=(4,), loops=(2,), **SMALL).measure(None, None, None, DRAW)
    curve = found.curves["planar_angle"]
    assert curve.reference == [[planar(3).angle]]
    assert curve.model[0][0] == pytest.approx(1.71, rel=0.05)  # ω = 0.121 at n = 200


@pytest.mark.parametrize("options", [{"dims": (1, 2)}, {"fitted_dims": (7,)}, {"loops": (0,)}, {"n_prompts": 1}])
def test_bad_fields_are_refused(options):
    with pytest.raises(ValueError, match="must be >= "):
        ScalarStability(**options)
