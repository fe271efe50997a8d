"""The figures of the chain of thought, as a reader would draw them."""

import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from icl.constructions.chain_of_thought_as_gd import chain_of_thought_as_gd
from icl.runs import RunFolder
from options import composed

ANALYSIS = Path(__file__).parents[2] / "analysis"


@pytest.fixture
def folder(tmp_path):
    """A run whose weights are the construction, with a member that diverged."""
    folder = RunFolder(tmp_path / "run")
    cfg = composed("experiment=thoughts_are_gd_steps", "n_seeds=1", "task.dim=4")
    folder.open(OmegaConf.to_yaml(cfg, resolve=True), [])
    state = chain_of_thought_as_gd(dim=4, step_size=0.4)
    folder.write_tensors("weights", {name: value.float() for name, value in state.items()})
    x = [float(k) for k in range(1, 41)]
    falling = [0.9**k for k in range(40)]
    curve = {"x": x, "model": [falling, [None] * 40], "reference": [falling]}
    names = [f"gd/thoughts/{name}" for name in ("median", "mean", "lowest_tenth", "highest_tenth")]
    folder.write_record("comparisons", {"curves": dict.fromkeys((*names, "gd/larger/median"), curve)})
    return folder


@pytest.mark.parametrize("script", ["fig_thoughts_beside_gd.py", "fig_thought_circuit.py"])
def test_it_draws_a_run(script, folder, tmp_path):
    target = tmp_path / "figure.svg"
    command = [sys.executable, "-W", "error", str(ANALYSIS / script), str(folder.path), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr, done.stdout.strip()) == (0, "", str(target))
    assert target.read_text().count("</svg>") == 1
