"""The page of a sweep: counts, the best setting, a capped table, and the small pages of its members."""

import json
import time

import numpy as np
import pytest

from folders import Page, write_run
from icl.reporting import sweep
from icl.reporting.sweep import write_member_page, write_sweep_report
from icl.reporting.sweep_figures import all_curves, multiplicative, over_axes
from icl.reporting.swept import main_axes, ordered, read_runs
from icl.runs import RunFolder

KEYS = ["seed", "train.lr"]


@pytest.fixture
def runs(tmp_path) -> list[RunFolder]:
    """Two seeds at each of four learning rates; the third has the lowest loss, by 0.03 a place."""
    return [
        write_run(tmp_path / "runs" / f"{lr:g}-{seed}", n_seeds=2, seed=2 * seed, lr=lr, shift=0.03 * abs(i - 2))
        for i, lr in enumerate((1e-4, 3e-4, 1e-3, 3e-3))
        for seed in range(2)
    ]


def page(tmp_path, runs, keys=KEYS) -> Page:
    (tmp_path / "sweep").mkdir(exist_ok=True)
    found = Page(write_sweep_report(tmp_path / "sweep", runs, keys))
    assert found.faults == []
    return found


def test_a_finished_sweep(tmp_path, runs):
    found = page(tmp_path, runs)
    assert "One layer is one GD step: a sweep 8 runs over seed, train.lr" in found.text
    assert "16 of 16 members finished , none diverged" in found.text
    assert "train.lr=0.001 : median 0.20664 over 4 members, from 0.20664 to 0.20664." in found.text
    assert "scripts/lab train seed=0 n_seeds=2 train.lr=0.001" in found.text
    assert found.source.count("<svg ") == 2
    assert "Every line is one of 16 members, coloured by train.lr." in found.text
    assert "lines their medians at each train.lr; pooled over seed." in found.text


def test_what_did_not_finish_or_diverged_is_counted_and_named(no_drawing, tmp_path, runs):
    for name in ("done.json", "result.json"):
        (runs[0].path / name).unlink()
    lost = runs[4].record("result")
    runs[4].write_record("result", lost | {"diverged": [1], "final_loss": [0.2, None]})
    never = RunFolder(tmp_path / "runs" / "never")
    text = page(tmp_path, [*runs, never]).text
    assert "14 of 17 members finished , 3 unfinished, 1 diverged" in text
    assert "finished, diverged: seeds 1" in text
    assert "not started not started 1 n/a n/a n/a unfinished never" in text
    assert "1 diverged and is not drawn." in text


def test_a_setting_whose_members_diverge_is_not_the_best(no_drawing, tmp_path, runs):
    for run in runs[4:6]:
        run.write_record("result", run.record("result") | {"final_loss": [0.1, None]})
    assert "train.lr=0.0003 : median 0.23664" in page(tmp_path, runs).text


def test_the_table_is_capped_and_says_so(no_drawing, tmp_path, runs, monkeypatch):
    monkeypatch.setattr(sweep, "TABLE_ROWS", 3)
    found = page(tmp_path, runs)
    assert "the 3 lowest of 8 runs" in found.text
    assert found.source.count("<tr>") == 1 + 3


@pytest.mark.parametrize("keys", [[], ["seed"], ["model"], ["train.lr", "model", "seed"]])
def test_any_swept_keys_give_a_page(no_drawing, tmp_path, runs, keys):
    found = page(tmp_path, runs, keys)
    assert found.source.count("<svg ") == 1 + ("seed" in keys)


def test_a_sweep_of_which_nothing_ran_gives_a_page(tmp_path):
    found = page(tmp_path, [RunFolder(tmp_path / "never")])
    assert "0 of 1 members finished" in found.text
    assert "<svg" not in found.source


def test_the_axes_of_the_figure(runs):
    read = read_runs(runs, KEYS)
    assert main_axes(read, KEYS) == ["train.lr", "seed"]
    assert [run.values["train.lr"] for run in read[::2]] == ["0.0001", "0.0003", "0.001", "0.003"]
    panel = over_axes(read, KEYS)
    assert panel is not None
    assert all(f">{tick}</text>" in panel.svg for tick in ("0.0001", "0.0003", "0.001", "0.003"))
    assert ordered(["10", "9", "1e1"]) == ["9", "10", "1e1"]
    assert ordered(["b", "a", "b", "1"]) == ["b", "a", "1"]


@pytest.mark.parametrize(
    ("values", "logarithmic"),
    [([1, 2, 3, 4], False), ([1, 2, 4, 8], True), ([1, 100], True), ([1, 2], False), ([0, 1, 100], False)],
)
def test_a_key_of_even_ratios_or_wide_range_has_a_logarithmic_axis(values, logarithmic):
    assert multiplicative(np.array(values, dtype=float)) == logarithmic


def test_a_group_is_named_by_what_was_typed(tmp_path):
    folder = write_run(tmp_path / "a", n_seeds=1)
    (folder.path / "overrides.txt").write_text("model=linear_attention_tied\n+train.note=x=y\n")
    (read,) = read_runs([folder], ["model", "task", "train.note", "train.lr"])
    expected = {"model": "linear_attention_tied", "task": "default", "train.note": "x=y", "train.lr": "0.001"}
    assert read.values == expected


def test_many_values_are_shades_and_many_curves_are_pixels(tmp_path):
    runs = [write_run(tmp_path / str(i), n_seeds=8, lr=1e-4 * 1.5**i) for i in range(12)]
    panel = all_curves(read_runs(runs, ["train.lr"]), ["train.lr"])
    assert panel is not None
    assert panel.svg.count("<image") == 1
    assert len(panel.svg) < 400_000


def test_a_members_page_leads_to_the_sweep_and_never_replaces_a_report(no_drawing, tmp_path, runs):
    target = page(tmp_path, runs).path
    write_member_page(runs[0], target)
    small = Page(runs[0].report)
    assert small.faults == []
    assert f"scripts/lab report {runs[0].path}" in small.text
    write_member_page(runs[0], tmp_path / "sweep" / "other.html")
    assert "other.html" in runs[0].report.read_text()
    runs[1].report.write_text("<!DOCTYPE html>\n<title>drawn</title>")
    write_member_page(runs[1], target)
    assert "drawn" in runs[1].report.read_text()


def test_a_members_page_takes_no_time(tmp_path, runs):
    write_member_page(runs[0], tmp_path / "report.html")
    begun = time.process_time()
    for run in runs * 5:
        write_member_page(run, tmp_path / "report.html")
    assert (time.process_time() - begun) / 40 < 2e-3


def test_metrics_can_be_read_thinned(runs):
    every, few = runs[0].metrics(), runs[0].metrics(4)
    assert [row["step"] for row in few] == [0, 1000, 2000, 3000]
    assert json.dumps(few[1]) == json.dumps(every[100])
    assert runs[0].metrics(len(every)) == every
