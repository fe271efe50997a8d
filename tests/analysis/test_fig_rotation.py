"""The figures of the looped layers, drawn from runs of two steps as a reader would."""

import subprocess
import sys
from pathlib import Path

import pytest

from icl.config import JobFailed
from icl.pipelines.reproduce import run as reproduce
from options import composed

ANALYSIS = Path(__file__).parents[2] / "analysis"
SMALL = (
    "comparisons.phase.dims=[2,3]", "comparisons.phase.fitted_dims=[2]", "comparisons.phase.ratios=[4,6]",
    "comparisons.phase.loops=[2,3]", "comparisons.phase.planar_contexts=[10,20]",
)  # fmt: skip


@pytest.mark.filterwarnings("ignore::icl.theory.stability.UnstableSteps")  # after two steps everything diverges
@pytest.mark.parametrize(
    ("script", "experiment", "overrides"),
    [
        ("fig_rotation_phase", "rotations_begin_where_the_scalar_is_a_saddle", SMALL),
        ("fig_rotation_eigenvalues", "looping_prefers_a_rotation", ()),
        ("fig_looping_beyond_training", "looping_extrapolates", ()),
        ("fig_rotation_on_the_way", "looped_attention_does_not_keep_the_rotation", ()),
    ],
)
def test_it_draws_a_run(script, experiment, overrides, tmp_path, monkeypatch):
    monkeypatch.setattr("icl.pipelines.reproduce.write_report", lambda folder: folder.path / "report.html")
    with pytest.raises(JobFailed):  # two steps prove nothing
        reproduce(composed(f"experiment={experiment}", "debug=tiny", f"paths.outputs={tmp_path}", *overrides))
    target = tmp_path / "figure.svg"
    command = [sys.executable, "-W", "error", str(ANALYSIS / f"{script}.py")]
    command += [str(tmp_path / experiment / "latest"), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr, done.stdout.strip()) == (0, "", str(target))
    assert target.read_text().count("</svg>") == 1
