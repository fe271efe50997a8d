"""Records as tables: every point of a curve is one row, and no table is too long for W&B."""

import pytest

from icl.tracking import wandb_tables as tables

LINE = {"kind": "line", "x_label": "step", "y_label": "loss", "x": [0, 1, 2], "model": [[1, 2, 3], [4, 5, None]],
        "reference": [[7, 8, 9]], "reference_label": "gd"}  # fmt: skip


def test_a_line_has_a_row_a_member_and_point():
    columns, rows = tables.curve(LINE, [3, 4])
    assert list(columns) == ["series", "step", "loss"]
    assert rows[:3] == [["seed_3", 0, 1], ["seed_3", 1, 2], ["seed_3", 2, 3]]
    assert rows[5:7] == [["seed_4", 2, None], ["gd", 0, 7]]
    assert len(rows) == 9


def test_references_of_every_member_are_told_apart():
    _, rows = tables.curve(LINE | {"reference": [[7, 8, 9], [1, 1, 1]]}, [3, 4])
    assert {row[0] for row in rows} == {"seed_3", "seed_4", "gd seed_3", "gd seed_4"}


def test_a_scatter_has_its_own_x():
    _, rows = tables.curve(LINE | {"kind": "scatter", "x": [[0, 1], [5, 6]], "reference": []}, [3, 4])
    assert rows == [["seed_3", 0, 1], ["seed_3", 1, 2], ["seed_4", 5, 4], ["seed_4", 6, 5]]


def test_a_map_has_a_row_a_cell():
    drawn = {"kind": "map", "x_label": "layer", "y_label": "layer", "x": [1, 2], "y": ["a"], "model": [[0.5, 0.25]]}
    columns, rows = tables.curve(drawn, [0])
    assert list(columns) == ["layer", "layer (1)", "value"]
    assert rows == [["1", "a", 0.5], ["2", "a", 0.25]]


@pytest.mark.parametrize("n", [5_000, 5_001, 30_000])
def test_long_curves_are_thinned(n):
    _, rows = tables.curve(LINE | {"x": range(n), "model": [range(n)], "reference": [range(n)]}, [0])
    assert 2_000 < len(rows) <= tables.MOST_ROWS
    assert {row[0] for row in rows} == {"seed_0", "gd"}
    assert all(row[1] == row[2] for row in rows)


def test_claims_and_jobs():
    columns, rows = tables.claims(
        {"claims": [{"id": "loss", "worst": 1 / 3, "holds": True, "source_value": "about 1"}]}
    )
    assert dict(zip(columns, rows[0])) == dict.fromkeys(columns) | {
        "id": "loss", "worst": "0.333333", "holds": "True", "source_value": "about 1",
    }  # fmt: skip
    _, rows = tables.jobs({"jobs": [{"folder": "o/1", "status": "FAILED", "overrides": ["seed=1", "train.lr=1"]}]})
    assert rows == [["o/1", "FAILED", "seed=1 train.lr=1"]]
