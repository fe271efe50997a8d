"""A reference that is a model: trained on the run's own prompts, found again, compared member by member."""

import json

import pytest
import torch

from icl.config import ConfigError, validate
from icl.pipelines.compare import measure
from icl.pipelines.train import trained_beside, trained_job
from icl.runs import Run
from options import composed

TRAIN = ("debug=tiny", "dtype=float64", "task.dim=2", "train.steps=3", "n_seeds=2", "name=n")
MOUNTED = (
    "+model@references.merged.model=linear_attention_merged",
    "+comparison@comparisons.loss=loss_ratio",
)


def run_of(tmp_path, *overrides):
    cfg = composed(*TRAIN, *overrides, f"paths.outputs={tmp_path}")
    validate(cfg)
    job, mirror = trained_job(cfg, in_sweep=True)
    mirror.close()
    return Run(job.folder), cfg


def test_it_is_the_run_that_the_same_training_makes_by_itself(tmp_path):
    run, _ = run_of(tmp_path / "a", *MOUNTED)
    alone, _ = run_of(tmp_path / "b", "model=linear_attention_merged")
    beside = trained_beside(run, composed(*TRAIN, *MOUNTED).references.merged.model, "references.merged")
    assert beside.folder.id == alone.folder.id != run.folder.id
    assert beside.folder.path.parent == run.folder.path.parent
    for name, value in alone.model.state_dict().items():
        assert torch.equal(beside.model.state_dict()[name], value)


def test_comparisons_pair_its_members_and_it_is_trained_once(tmp_path, capsys):
    run, cfg = run_of(tmp_path, *MOUNTED)
    numbers = measure(run, cfg)["numbers"]
    assert "references.merged" in capsys.readouterr().out
    assert measure(run, cfg)["numbers"] == numbers
    assert "already trained, references.merged" in capsys.readouterr().out
    assert len(numbers["merged/loss/loss_ratio"]) == 2
    reference = trained_beside(run, cfg.references.merged.model, "references.merged")
    own = measure(reference, composed(*TRAIN, "+algorithm@references.zero=gradient_descent", "references.zero.steps=0",
                                      "+comparison@comparisons.loss=loss_ratio"))["numbers"]  # fmt: skip
    assert own["zero/loss/half_mse"] == numbers["merged/loss/reference_half_mse"]
    assert json.loads((run.folder.path / "comparisons.json").read_text())["numbers"] == numbers


def test_a_reference_with_an_unknown_key_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="widht is unknown"):
        validate(composed(*TRAIN, *MOUNTED, "+references.merged.model.widht=3"))
