"""The drawing surface: plain ticks, ids that do not clash, text that stays as it was written."""

import re

import numpy as np
import pytest

from icl.reporting import canvas


def drawn(name: str, label: str = "x") -> str:
    figure, axes = canvas.new()
    axes.plot([0, 1], [0.2, 0.4], color=canvas.MODEL, label=label)
    canvas.name_axes(axes, label, label)
    canvas.legend(figure, axes, title=label)
    return canvas.to_svg(figure, name, label)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (-0.02, "−0.02"), (3000, "3,000"), (0.0001, "0.0001"), (1e-5, "10⁻⁵"),
     (-2.5e-7, "−2.5·10⁻⁷"), (1e6, "10⁶")],
)  # fmt: skip
def test_ticks_are_plain_text(value, text):
    assert canvas.tick(value) == text


def test_two_drawings_share_no_id_and_no_colour_is_fixed():
    ids = [set(re.findall(r' id="([^"]+)"', drawn(name))) for name in ("a/b", "a/c")]
    assert ids[0]
    assert not ids[0] & ids[1]
    assert "var(--model)" in drawn("a")
    assert "var(--ink)" in drawn("a")
    assert "font-family" not in drawn("a")
    assert not re.search(r"(stroke|fill): #", drawn("a"))


@pytest.mark.parametrize("label", ["best: 0.206229", "$x", "$\\frac$", "a & <b>"])
def test_text_stays_as_it_was_written(label):
    import html

    texts = re.findall(r"<text[^>]*>([^<]*)</text>", drawn("a", label))
    assert [html.unescape(text) for text in texts].count(label) == 4  # two axes, legend, its title


def test_a_member_that_is_not_finite_counts_as_the_largest():
    rows = np.array([[1.0, np.nan, 3.0], [np.nan, np.inf, 1.0], [1.0, 2.0, 9.0]])
    np.testing.assert_array_equal(canvas.median(rows), [3.0, np.nan, 2.0])


@pytest.mark.parametrize(("n", "limit"), [(1, 5), (5, 5), (1000, 7), (0, 5)])
def test_thinning_keeps_the_ends(n, limit):
    kept = canvas.thin(n, limit)
    assert len(kept) == min(n, limit)
    assert n == 0 or (kept[0], kept[-1]) == (0, n - 1)


def test_many_points_become_pixels():
    figure, axes = canvas.new()
    rows = np.random.default_rng(0).standard_normal((300, 200))
    canvas.bundle(axes, np.arange(300), rows, color=canvas.MODEL, name="many")
    assert len(canvas.to_svg(figure, "many", "")) < 400_000
