"""The figure of the layers, from a folder that a small run leaves, with and without x-update."""

import subprocess
import sys
from pathlib import Path

import pytest

from icl.pipelines.compare import measure
from icl.pipelines.train import trained_job
from icl.runs import Run
from options import composed

SCRIPT = Path(__file__).parents[2] / "analysis" / "fig_preconditioned_layers.py"


@pytest.mark.parametrize(
    "experiment",
    ["layers_are_preconditioned_steps", pytest.param("x_update_beats_preconditioning", marks=pytest.mark.slow)],
)
def test_it_draws_a_run(experiment, tmp_path):
    cfg = composed(f"experiment={experiment}", "debug=tiny", f"paths.outputs={tmp_path}", "name=run")
    job, mirror = trained_job(cfg)
    mirror.close()
    measure(Run(job.folder), cfg, 64)
    target = tmp_path / "figure.svg"
    command = [sys.executable, "-W", "error", str(SCRIPT), str(job.folder.path), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr, done.stdout.strip()) == (0, "", str(target))
    assert target.read_text().count("</svg>") == 1
