"""A probe is mounted like a comparison, claimed like one, and a finished run can be asked another."""

import json
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from icl.comparisons.measured import Measured
from icl.config import ConfigError, JobFailed, validate
from icl.pipelines import probe as pipeline
from icl.pipelines.reproduce import run as reproduce
from icl.pipelines.train import trained_job
from icl.probes.parameter_norms import ParameterNorms
from icl.probes.probe import probe
from icl.rng import Draw
from icl.runs import Run
from options import composed

TRAIN = ("debug=tiny", "dtype=float64", "task.dim=2", "train.steps=3", "n_seeds=2", "name=n")
CLAIM = ("+probe@probes.norms=parameter_norms", "+claims.grown.metric=probes/norms/norm", "+claims.grown.at_least=0")


@dataclass(frozen=True)
class Other:
    """Lists one number and gives another."""

    numbers: ClassVar[tuple[str, ...]] = ("a",)

    def measure(self, model, task, draw):
        return Measured(numbers={"b": torch.zeros(1)})


def trained(tmp_path, *overrides):
    cfg = composed(*TRAIN, *overrides, f"paths.outputs={tmp_path}")
    validate(cfg)
    job, mirror = trained_job(cfg, in_sweep=True)
    mirror.close()
    return Run(job.folder), cfg


def test_reproduce_judges_a_claim_on_a_probe_alone(tmp_path):
    cfg = composed(*TRAIN, *CLAIM, f"paths.outputs={tmp_path}")
    validate(cfg)
    assert reproduce(cfg) == {"claims_held": 1.0, "claims": 1.0}
    path = tmp_path / "n/latest/report.html"
    assert "How the weights grew" in path.read_text()


def test_a_claim_on_an_unknown_number_of_a_probe_is_refused_before_training(tmp_path):
    cfg = composed(*TRAIN, *CLAIM, "claims.grown.metric=probes/norms/nrm", f"paths.outputs={tmp_path}")
    with pytest.raises(ConfigError, match="did you mean 'probes/norms/norm'"):
        reproduce(cfg)
    assert not list(tmp_path.iterdir())


def test_a_finished_run_is_asked_and_its_other_numbers_stay(tmp_path):
    run, _ = trained(tmp_path)
    run.folder.write_record("comparisons", {"numbers": {"gd/loss/loss_ratio": [1.0, 1.0]}})
    asked = composed(f"run={run.folder.path}", "+probe@probes.norms=parameter_norms")
    assert set(pipeline.run(asked, in_sweep=True)) == {"probes/norms/norm", "probes/norms/distance"}
    kept = json.loads((run.folder.path / "comparisons.json").read_text())["numbers"]
    assert set(kept) == {"gd/loss/loss_ratio", "probes/norms/norm", "probes/norms/distance"}


def test_norms_are_those_of_the_weights(tmp_path):
    run, _ = trained(tmp_path)
    found = probe(ParameterNorms(), run, Draw([0], "probe"))
    by_hand = [sum(p[m].square().sum() for p in run.model.parameters()).sqrt().item() for m in range(2)]
    assert found.numbers["norm"].tolist() == pytest.approx(by_hand, rel=1e-12)
    assert (found.numbers["distance"] > 0).all()


def test_nothing_to_probe_is_one_line(tmp_path):
    run, _ = trained(tmp_path)
    with pytest.raises(ConfigError, match="nothing to probe; mount a probe"):
        pipeline.run(composed(f"run={run.folder.path}"))


def test_a_probe_that_gives_other_numbers_than_it_lists_is_a_bug(tmp_path):
    run, _ = trained(tmp_path)
    with pytest.raises(RuntimeError, match=r"Other\.numbers and what it measures differ"):
        probe(Other(), run, Draw([0], "probe"))


def test_a_failing_claim_on_a_probe_fails_the_job(tmp_path):
    cfg = composed(*TRAIN, *CLAIM, "claims.grown.at_least=1e9", f"paths.outputs={tmp_path}")
    with pytest.raises(JobFailed, match="0 of 1 claims hold"):
        reproduce(cfg)
