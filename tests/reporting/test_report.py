"""The page of one run: complete, valid, self-contained, and never a crash when a part is missing."""

import subprocess
import sys

import pytest

from folders import Page, result, write_run
from icl.reporting.report import command, exact_loss, write_report
from icl.runs import RunFolder

SECTIONS = ("Claims", "Figures", "All numbers", "How it was run", "Configuration", "Files in the run folder")


def page(folder: RunFolder) -> Page:
    found = Page(write_report(folder))
    assert found.faults == []
    return found


def headings(found: Page) -> list[str]:
    return [line.split("</h2>")[0] for line in found.source.split("<h2>")[1:]]


def test_the_page_is_valid_self_contained_and_complete(folder):
    found = page(folder)
    assert found.path == folder.path / "report.html"
    assert headings(found) == list(SECTIONS)
    assert found.source.count("<svg ") == 5
    assert 'name="viewport"' in found.source
    assert "@media print" in found.source
    assert "prefers-color-scheme: dark" in found.source
    for address in ("http:", "https:", "@import", "<link", "url(h"):
        assert address not in found.source


def test_it_says_what_the_records_say(folder):
    text = page(folder).text
    assert "One layer is one GD step" in text
    assert "Is one layer one step?" in text
    assert "Claims hold: 1 of 2" in text
    assert "Failing: strict" in text
    assert "1.009 1.005 1.002 … 1.009 ≤ 1.01 ✓ holds" in text
    assert "1.0055 mean, 95 %: 1.003 … n/a" in text
    assert "≤ 1.001 ✗ fails seeds 3" in text
    assert "<b>derived</b> & tested" in text
    assert "best single step (exact): 0.2062" in text  # a label of the figure, as text
    assert "gd/ loss/ loss_ratio 1.0055 1.002 … 1.009 ± 0.002 100,000" in text
    assert "gd/ exact/ exact_loss_ratio 1.001 1.001 n/a exact" in text
    assert "python 3.11.7, torch 2.13.0" in text
    assert f"scripts/lab reproduce experiment={folder.path.parent.name} seed=0 n_seeds=8 train.lr=0.001" in text
    assert "inputs: uniform" in text


@pytest.mark.parametrize(
    ("missing", "gone", "n_figures"),
    [
        (("comparisons.json",), {"All numbers"}, 3),
        (("claims.json",), {"Claims"}, 5),
        (("snapshots.safetensors",), set(), 4),
        (("weights.safetensors",), set(), 3),
        (("metrics.jsonl",), set(), 4),
        (("result.json", "done.json"), set(), 5),
        (("overrides.txt",), set(), 5),
        (("config.yaml",), {"Configuration"}, 3),
    ],
)
def test_a_missing_piece_is_left_out(no_drawing, folder, missing, gone, n_figures):
    for name in missing:
        (folder.path / name).unlink()
    found = page(folder)
    assert headings(found) == [section for section in SECTIONS if section not in gone]
    assert found.source.count("<svg ") == n_figures


def test_an_empty_folder_still_gives_a_page(tmp_path):
    assert headings(page(RunFolder(tmp_path))) == []


def test_truncated_weights_are_reported_on_the_page(no_drawing, folder):
    path = folder.path / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    found = page(folder)
    assert "The weights are not drawn:" in found.text
    assert found.source.count("<svg ") == 3


def test_members_that_diverged_are_named_and_do_not_hide_the_others(no_drawing, folder):
    rows = folder.metrics()
    for row in rows[5:]:
        row["loss"][2] = None
    folder.write_metrics(rows)
    folder.write_record("result", result(0, [0.2066] * 8) | {"diverged": [2]})
    text = page(folder).text
    assert "1 of 8 members diverged (seeds 2)" in text
    assert "The 8 members end at a loss, estimated on fresh prompts, of 0.2066 (median)" in text


def test_an_exact_loss_is_taken_where_there_is_one():
    found = {"numbers": {"gd/a/half_mse": [1.0], "gd/b/mse": [2.0], "gd/b/half_mse": [3.0]}}
    found["n_prompts"] = {"gd/a": 100, "gd/b": 0}
    assert exact_loss({"loss_name": "half_mse"}, found) == [3.0]
    assert exact_loss({"loss_name": "mse_per_dim"}, found) is None
    assert exact_loss({"objective": "icl.objectives.population.Population", "final_loss": [4.0]}, found) == [4.0]


def test_what_a_user_wrote_cannot_become_markup(tmp_path):
    evil = '</title><script>alert("$x")</script>'
    folder = write_run(tmp_path / "run", n_seeds=1)
    folder.write_record("result", folder.record("result") | {"name": evil, "question": evil, "versions": {evil: evil}})
    folder.write_record("comparisons", {"curves": {evil: {
        "kind": "line", "title": evil, "x_label": evil, "y_label": evil, "x": [0, 1], "model": [[1, 2]],
        "reference": [[1, 3]], "reference_label": evil, "note": evil,
    }}, "numbers": {evil: [1.0]}})  # fmt: skip
    assert page(folder).text.count(evil) >= 8


def test_the_command_is_quoted_for_a_shell(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.open("name: x\n", ["task.covariance_spectrum=[1, 2]", "experiment=mine"])
    assert command(folder) == "scripts/lab train 'task.covariance_spectrum=[1, 2]' experiment=mine"
    assert command(folder, "mine") == "scripts/lab reproduce 'task.covariance_spectrum=[1, 2]' experiment=mine"


def test_importing_it_leaves_matplotlib_out_and_drawing_leaves_no_global_state(folder):
    for name in ("comparisons.json", "snapshots.safetensors", "weights.safetensors"):
        (folder.path / name).unlink()
    program = (
        "import sys; from pathlib import Path; from icl.runs import RunFolder; import icl.reporting.sweep\n"
        "from icl.reporting.report import write_report; assert 'matplotlib' not in sys.modules\n"
        "import matplotlib as mpl; before = mpl.rcParams.copy(); write_report(RunFolder(Path(sys.argv[1])))\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "assert all(mpl.rcParams[k] == before[k] for k in before if k != 'backend')\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(folder.path)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_same_folder_gives_the_same_page(folder):
    for name in ("comparisons.json", "snapshots.safetensors"):
        (folder.path / name).unlink()
    first = write_report(folder).read_bytes()
    assert write_report(folder).read_bytes() == first
