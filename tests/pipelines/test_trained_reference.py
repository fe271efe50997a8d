"""A reference that is a model: trained on the run's own prompts, found again, compared member by member."""

import json

import pytest
import torch

from icl.claims.claim import metrics
from icl.config import ConfigError, validate
from icl.pipelines.compare import measure
from icl.pipelines.train import trained_beside, trained_job
from icl.probes.parameter_norms import ParameterNorms
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
    beside = trained_beside(run, composed(*TRAIN, *MOUNTED).references.merged, "references.merged")
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
    reference = trained_beside(run, cfg.references.merged, "references.merged")
    own = measure(reference, composed(*TRAIN, "+algorithm@references.zero=gradient_descent", "references.zero.steps=0",
                                      "+comparison@comparisons.loss=loss_ratio"))["numbers"]  # fmt: skip
    assert own["zero/loss/half_mse"] == numbers["merged/loss/reference_half_mse"]
    assert json.loads((run.folder.path / "comparisons.json").read_text())["numbers"] == numbers


def test_it_may_differ_in_its_recipe_alone_and_probes_look_into_it(tmp_path):
    slow = ("+references.slow.train.lr=1e-5", "+probe@probes.norms=parameter_norms")
    run, cfg = run_of(tmp_path / "a", *slow)
    alone, alone_cfg = run_of(tmp_path / "b", "train.lr=1e-5", "+probe@probes.norms=parameter_norms")
    numbers, own = measure(run, cfg)["numbers"], measure(alone, alone_cfg)["numbers"]
    assert numbers["slow/norms/distance"] == own["probes/norms/distance"]
    assert numbers["probes/norms/distance"] > numbers["slow/norms/distance"]
    assert "slow/norms/distance" in metrics(cfg.references, {}, {"norms": ParameterNorms}, ["slow"])


@pytest.mark.parametrize(
    ("override", "line"),
    [("train.lrr=1", r"references\.r\.train\.lrr is unknown; did you mean 'lr'"),
     ("train.steps=-1", r"references\.r\.train\.steps=-1 must be"),
     ("model.n_layers=0", "n_layers=0 must be >= 1")],
)  # fmt: skip
def test_a_bad_part_is_refused(override, line):
    with pytest.raises(ConfigError, match=line):
        validate(composed(*TRAIN, f"+references.r.{override}"))


def test_a_reference_with_an_unknown_key_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="widht is unknown"):
        validate(composed(*TRAIN, *MOUNTED, "+references.merged.model.widht=3"))
