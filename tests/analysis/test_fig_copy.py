"""The figures of the copy layer and of the sine predictions, as a reader would draw them."""

import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from icl.config import build_model
from icl.rng import Draw
from icl.runs import RunFolder
from options import composed

ANALYSIS = Path(__file__).parents[2] / "analysis"


def fresh_run(path, *overrides):
    """A run folder with first values as its weights and its two snapshots."""
    cfg, folder = composed(*overrides, "n_seeds=2"), RunFolder(path)
    folder.open(OmegaConf.to_yaml(cfg, resolve=True), [])
    model = build_model(cfg)
    model.reset(Draw([0, 1], "init"))
    state = model.state_dict()
    folder.write_tensors("weights", state)
    folder.write_tensors("snapshots", {f"{step:08d}/{k}": v.clone() for step in (0, 10) for k, v in state.items()})
    folder.write_metrics([{"step": s, "loss": [1.0 / (s + 1), None if s == 3 else 1.0]} for s in range(10)])
    folder.write_record("result", {"loss_name": "half_mse", "theory": {"best_one_step": 0.2}})
    return folder


def drawn(script, target, *folders):
    command = [sys.executable, "-W", "error", str(ANALYSIS / script), *(str(f.path) for f in folders), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr, done.stdout.strip()) == (0, "", str(target))
    return target.read_text().count("</svg>") == 1


@pytest.mark.parametrize("script", ["fig_copy_layer.py", "fig_copy_attention.py"])
def test_a_copy_layer_is_drawn(script, tmp_path):
    run = fresh_run(tmp_path / "run", "experiment=the_copy_layer_is_an_induction_head")
    assert drawn(script, tmp_path / "figure.svg", run)


def test_sine_predictions_are_drawn(tmp_path):
    experiment = "experiment=mlp_before_attention_explains_sine"
    model = fresh_run(tmp_path / "model", experiment)
    reference = fresh_run(tmp_path / "reference", experiment, "model=embedded_gradient_step")
    assert drawn("fig_sine_predictions.py", tmp_path / "figure.svg", model, reference)
