"""A map names what it shows: every name of an axis, some of its numbers, and each number while there is room."""

import pytest

from icl.reporting.maps import measured_map

MAP = {"kind": "map", "title": "t", "x_label": "verdict", "y_label": "truth", "x": ["one_step", "ridge"], "y": [1, 2]}


def test_every_name_is_there_and_every_number():
    panel = measured_map("a/b", MAP | {"model": [[0.25, 1.0], [0.5, None]]})
    assert panel is not None
    for text in ("one step", "ridge", "verdict", "truth", "0.25", "0.5"):
        assert f">{text}<" in panel.svg
    assert panel.caption == "From 0.25 to 1."


@pytest.mark.parametrize(("n", "shown"), [(20, 20), (60, 20)])
def test_names_are_thinned_only_when_there_are_many(n, shown):
    names = [f"name{i:02d}" for i in range(n)]
    panel = measured_map("a/b", MAP | {"x": names, "model": [list(range(n)), list(range(n))]})
    assert panel is not None
    assert sum(f">{name}<" in panel.svg for name in names) == shown


def test_a_map_without_a_number_is_not_drawn():
    assert measured_map("a/b", MAP | {"model": [[None, None], [None, None]]}) is None
