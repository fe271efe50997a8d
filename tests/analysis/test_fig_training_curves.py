"""The example of an analysis script: from a run folder to a file, as a reader would call it."""

import subprocess
import sys
from pathlib import Path

from icl.runs import RunFolder

SCRIPT = Path(__file__).parents[2] / "analysis" / "fig_training_curves.py"


def test_it_draws_a_run_with_a_diverged_seed(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.open("name: n\n", [])
    folder.write_metrics([{"step": s, "loss": [1.0 / (s + 1), None]} for s in range(5)])
    folder.write_record("result", {"loss_name": "half_mse", "theory": {"zero": 1.0, "best_one_step": 0.2}})
    target = tmp_path / "figure.svg"
    command = [sys.executable, "-W", "error", str(SCRIPT), str(folder.path), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr, done.stdout.strip()) == (0, "", str(target))
    assert target.read_text().count("</svg>") == 1
