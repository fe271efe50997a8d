"""The run folder: opened from Python, and safe to open when it is a stranger's."""

import json

import pytest
import torch

from command import call
from icl import load
from icl.config import ConfigError
from icl.runs import RunError, RunFolder, digest


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, capsys, "train", "debug=tiny", "train.steps=6", "train.n_snapshots=3").code == 0
    return load(tmp_path / "outputs/run/latest")


def test_load_gives_config_task_model_and_results(run):
    assert run.config.train.steps == 6
    assert run.task.dim == 5
    assert run.result["seeds"] == [0, 1]
    assert run.model.n_seeds == 2
    assert [row["step"] for row in run.metrics] == [0, 5]
    sample = run.task.sample(32 * run.config.train.batch_size, _draw("final"))
    loss = 0.5 * (run.model(sample.prompt)[-1] - sample.target).square().mean(1)
    torch.testing.assert_close(loss.tolist(), run.result["final_loss"], rtol=1e-5, atol=1e-6)


def _draw(name):
    from icl.rng import Draw

    return Draw([0], name)


def test_snapshots_are_the_bank_as_it_was(run):
    snapshots = dict(run.snapshots())
    assert min(snapshots) == 0
    assert max(snapshots) == 6
    torch.testing.assert_close(snapshots[6].W_Q, run.model.W_Q, rtol=0, atol=0)
    assert not torch.equal(snapshots[0].W_Q, snapshots[6].W_Q)


def test_a_strangers_folder_cannot_run_code(run, tmp_path):
    path = run.folder.path / "config.yaml"
    evil = (
        path.read_text()
        .replace("plugins: []", "plugins: [os]")
        .replace("_target_: icl.tasks.linear_regression.LinearRegression", "_target_: os.system")
    )
    path.write_text(evil)
    with pytest.raises(ConfigError, match="not allowed"):
        _ = load(run.folder.path).task


def test_plugins_come_from_the_command_line_only(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine/experiment").mkdir(parents=True)
    (tmp_path / "mine/experiment/x.yaml").write_text("# @package _global_\nplugins: [os]\n")
    finished = call(monkeypatch, capsys, "train", "--config-dir", "mine", "experiment=x")
    assert (finished.code, "command line only" in finished.err) == (2, True)


def test_a_folder_that_is_no_run_is_said_so(tmp_path):
    with pytest.raises(RunError, match=r"no config\.yaml"):
        load(tmp_path)
    with pytest.raises(RunError, match="missing"):
        RunFolder(tmp_path).record("result")
    (tmp_path / "result.json").write_text("{")
    with pytest.raises(RunError, match="not valid JSON"):
        RunFolder(tmp_path).record("result")


def test_a_digest_is_of_the_content_alone():
    assert digest({"a": 1, "b": [2]}) == digest(json.loads('{"b": [2], "a": 1}'))
    assert digest({"a": 1}) != digest({"a": 2})
