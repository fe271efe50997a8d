"""The figures and the table of context-enhanced learning, drawn from folders with the numbers that they read."""

import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from icl.runs import RunFolder
from options import composed

ANALYSIS = Path(__file__).parents[2] / "analysis"


def folder_of(path, experiment, numbers=(), curves=None, intervals=()):
    folder = RunFolder(path / "run")
    folder.open(OmegaConf.to_yaml(composed(f"experiment={experiment}"), resolve=True), [])
    found = {"numbers": {key: [0.1, 0.3] for key in numbers}, "curves": curves or {}}
    folder.write_record("comparisons", found | {"intervals": {key: [[0.0, 0.4], [0.1, 0.5]] for key in intervals}})
    return folder


def ran(script, *arguments):
    command = [sys.executable, "-W", "error", str(ANALYSIS / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_levels_are_drawn(tmp_path):
    words = ["probes", "three_levels", "four_levels", "five_levels", "two_without", "three_without", "four_without",
             "five_without"]  # fmt: skip
    numbers = [f"{at}/rules/{name}" for at in words for name in ("steps", "accuracy", "looked_up")]
    folder, target = folder_of(tmp_path, "context_steps_grow_linearly", numbers), tmp_path / "f.svg"
    assert ran("fig_context_levels.py", folder.path, target).strip() == str(target)
    assert "table of windows" in target.read_text() or target.stat().st_size > 0


@pytest.mark.parametrize(
    ("script", "experiment", "curves"),
    [
        ("fig_context_gradient.py", "context_gradient_names_the_rule",
         {f"probes/gradient/{n}": {"x": [0, 1], "y": [1, 2, 3], "model": [[0.1, 0.9]] * 3, "x_label": "x",
                                   "y_label": "y, z"} for n in ("batch", "books")}),
        ("fig_context_sample_efficiency.py", "context_sample_efficiency",
         {f"{n}/translation/without": {"x": [0, 50], "model": [[0.1, 0.9]] * 2} for n in ("probes", "finetuned")}),
    ],
)  # fmt: skip
def test_curves_are_drawn(script, experiment, curves, tmp_path):
    target = tmp_path / "f.svg"
    assert ran(script, folder_of(tmp_path, experiment, curves=curves).path, target).strip() == str(target)
    assert target.stat().st_size > 0


def test_the_leak_table_has_a_line_a_training_and_measure(tmp_path):
    keys = [
        f"{at}/{probe}/{measure}_{which}"
        for at in ("probes", "no_dropout") for probe in ("leak", "leak_source")
        for measure in ("greedy", "sampled", "unfiltered", "membership") for which in ("earlier", "last")
    ]  # fmt: skip
    lines = ran(
        "fig_context_leak.py", folder_of(tmp_path, "context_small_llama", keys, intervals=keys).path
    ).splitlines()
    assert len(lines) == 1 + 2 * 2 * 4
    assert lines[1].split()[:3] == ["annealed", "rule", "greedy"]
    assert "20.0 [  9.7,  36.7] %" in lines[1]  # Wilson's for a fifth of 2 x 16 rules
    assert "20.0 [  5.9,  34.1] %" in lines[2]  # two intervals of half width 20, averaged
    assert "2.11 / 2.05 %" in lines[1]
