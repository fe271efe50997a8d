"""What the captions state is measured again here, by hand, from data with a known answer."""

import numpy as np
import pytest

from folders import BEST, STEPS, comparisons, gammas, progress, result
from icl.reporting.figures import comparison_curve, half_way, training_curves
from icl.reporting.losses import loss_label, span_of
from icl.reporting.preconditioner import distances, growth, heat_maps

FLAT = {
    "kind": "line",
    "x": [0.0, 1.0, 2.0],
    "x_label": "an axis, x",
    "y_label": "y",
    "title": "t",
    "reference_label": "GD",
}


def rows(loss: np.ndarray) -> list[dict]:
    return [{"step": int(step), "loss": row.tolist()} for step, row in zip(STEPS, loss, strict=True)]


def test_half_of_the_fall_is_where_the_sigmoid_is_half():
    found = half_way(STEPS, 1 - 0.5 * progress(STEPS, 4))
    assert np.abs(found - [300, 360, 420, 480]).max() <= 10  # one row


def test_a_member_that_does_not_fall_or_has_a_nan_has_no_half_way():
    loss = np.ones((len(STEPS), 2))
    loss[7, 1] = np.nan
    assert half_way(STEPS, loss).size == 0


def test_the_training_caption_states_the_distance_from_the_optimum_and_the_plateaus():
    loss, record = rows(1 - (1 - BEST) * progress(STEPS, 3)), result(0, [0.2] * 3)
    panel = training_curves(loss, record, [1.01 * BEST] * 3)
    assert panel is not None
    assert "3 members end at an exact loss of 0.2083 (median), 1 % above the best single step; " in panel.caption
    assert "half of the fall is done between steps 310 and 430, by member" in panel.caption  # the rows after 300, 420
    assert "training loss (half MSE)" in panel.svg


def test_an_estimated_loss_is_not_compared_with_an_exact_one():
    panel = training_curves(rows(1 - 0.5 * progress(STEPS, 3)), result(0, [0.2] * 3))
    assert panel is not None
    assert "at a loss, estimated on fresh prompts, of 0.2 (median); half" in panel.caption


@pytest.mark.parametrize(("speed", "ticks"), [(0.25, ["1,500"]), (20, ["10", "100"])])
def test_an_early_fall_is_drawn_against_the_logarithm_of_the_step(speed, ticks):
    panel = training_curves(rows(1 - 0.5 * progress(speed * STEPS, 2)), {})
    assert panel is not None
    assert [tick for tick in ("1,500", "10", "100") if f">{tick}</text>" in panel.svg] == ticks


def test_training_curves_need_two_rows_and_a_finite_loss():
    assert training_curves([{"step": 0, "loss": [1.0]}], {}) is None
    assert training_curves([{"step": s, "loss": [None, float("nan")]} for s in (0, 1)], {}) is None


def test_one_wild_member_does_not_flatten_the_others():
    loss = 1 - 0.5 * progress(STEPS, 3)
    loss[100:, 2] = 1e9
    panel = training_curves(rows(loss), {"final_loss": [0.5, 0.5, None]})
    assert panel is not None
    assert "10⁹" not in panel.svg
    assert ">0.5<" in panel.svg


def test_a_line_states_the_largest_deviation_of_any_member():
    curve = comparisons(8)["curves"]["gd/out_of_distribution/input_scale"]
    panel = comparison_curve("gd/out_of_distribution/input_scale", curve)
    assert panel is not None
    assert panel.caption.startswith("Each of the 8 trained members stays within 2.1 % of one GD step (dashed)")
    assert panel.caption.endswith("(20,000 prompts a point).")


@pytest.mark.parametrize(
    ("model", "reference", "says"),
    [
        ([[1, 2, 3]], [[1, 2, 2]], "The trained model stays within 50 % of GD (dashed) at every point."),
        ([[1, 2, 8]], [[1, 2, 2]], "within 0 % of GD (dashed) up to x = 1; beyond, they part by up to a factor of 4."),
        ([[4, 2, 2]], [[1, 2, 2]], "is drawn in blue, GD dashed: they part by up to a factor of 4."),
        ([[1, 2, 1e30]], [[1, 2, 2]], "by up to a factor of 5·10²⁹."),
        ([[1, 2, 0.5]], [[1, 2, 4]], "stays within 88 %"),
        ([[1, None, 3]], [[1, 2, 3]], "within 0 %"),
        ([[1, 2, 3]], [[-1, 2, 3]], "is drawn in blue, GD dashed."),
        ([[1, 2, 3], [2, 3, 4]], None, "Each of the 2 trained members is a thin line, their median the thick one."),
    ],
)
def test_a_line_of_any_kind_says_what_is_true_of_it(model, reference, says):
    panel = comparison_curve("a/b/c", FLAT | {"model": model, "reference": reference})
    assert panel is not None
    assert says in panel.caption


def test_a_scatter_states_the_distance_from_the_diagonal():
    panel = comparison_curve("gd/distance/predictions", comparisons(8)["curves"]["gd/distance/predictions"])
    assert panel is not None
    assert "500 prompts for each of 8 members" in panel.caption
    assert "is 2 % of the r.m.s. prediction" in panel.caption
    assert panel.svg.count("<path") < 60  # the points are pixels


@pytest.mark.parametrize("curve", [{"model": []}, {"model": [[None, None, None]]}, {"kind": "surface", "model": [[1]]}])
def test_a_curve_without_a_finite_point_or_of_another_kind_is_left_out(curve):
    assert comparison_curve("a/b/c", FLAT | curve) is None


def test_distances_and_the_median_member():
    gamma = gammas(8)[-1]
    far = distances(gamma, gamma[0])
    np.testing.assert_allclose(far, 0.01 * np.arange(8), atol=1e-9)
    panel = heat_maps(gamma, gamma[0], first_seed=100)
    assert "learned Γ, seed 103" in panel.svg
    assert "is 3 % for this member, the median one, and 7 % for the worst" in panel.caption


def test_a_diverged_member_is_not_the_one_that_is_shown():
    gamma = gammas(3)[-1]
    gamma[1] = np.nan
    panel = heat_maps(gamma, gamma[0])
    assert "seed 0" in panel.svg
    assert "and 2 % for the worst" in panel.caption


def test_growth_names_the_snapshots_at_which_the_plateaus_break():
    steps = np.array([0, 1, 10, 100, 200, 300, 400, 500, 700, 1000, 3000])
    panel = growth(steps, gammas(8), None)
    assert panel is not None
    tenth = 300 + 60 * np.arange(8) - 40 * np.log(9)  # where the sigmoid is a tenth
    first, last = (steps[steps >= t].min() for t in (tenth.min(), tenth.max()))
    assert f"between steps {first} and {last}" in panel.caption


def test_names():
    assert loss_label({"loss_name": "mse_per_dim"}, "final") == "final loss (MSE / D)"
    assert loss_label({}) == "training loss"
    assert (span_of([40, 40]), span_of([4, 1000])) == ("at step 40", "between steps 4 and 1,000, by member")


@pytest.mark.parametrize(
    ("title", "shown"), [("Change of SimAM", "Gd: change of SimAM"), ("SimAM by rate", "Gd: SimAM by rate")]
)
def test_the_title_of_an_arm_keeps_names_as_they_are_written(title, shown):
    curve = FLAT | {"model": [[1.0, 2.0, 3.0]], "reference": [], "title": title, "model_label": "this arm"}
    panel = comparison_curve("gd/b/c", curve)
    assert panel is not None
    assert panel.title.lower() == shown.lower()
    assert panel.title.endswith(shown.partition(": ")[2])
