"""A sweep leaves the folders that its lone runs would leave, in one process."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from command import call
from icl.launch.sweep import swept

SMALL = ["task.dim=3", "train.steps=12", "train.batch_size=4", "dtype=float64", "progress=false",
         "model.init_scale=1.0", "train.n_snapshots=4"]  # fmt: skip


def runs(folder: Path) -> dict[str, Path]:
    """id -> run folder."""
    return {p.name: p for p in folder.iterdir() if (p / "done.json").exists() and not p.is_symlink()}


def close(a, b) -> bool:
    """Equal to 1e-9, leaf by leaf; times and the size of the bank are not numbers of the run."""
    if isinstance(a, dict):
        skip = {"wall_seconds", "cpu_seconds", "bank_members"}
        return a.keys() == b.keys() and all(close(a[k], b[k]) for k in a if k not in skip)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(close, a, b))
    return abs(a - b) <= 1e-9 * max(1, abs(a)) if isinstance(a, float) else a == b


def test_the_folders_are_those_of_lone_runs(tmp_path, monkeypatch, capsys):
    (tmp_path / "sweep").mkdir()
    (tmp_path / "lone").mkdir()
    monkeypatch.chdir(tmp_path / "sweep")
    finished = call(monkeypatch, capsys, "train", *SMALL, "seed=range(0,3)", "train.lr=0.01,0.003", "launcher=bank")
    assert finished.code == 0, finished
    assert "6 jobs, 6 members" in finished.out
    monkeypatch.chdir(tmp_path / "lone")
    for seed in range(3):
        for lr in ("0.01", "0.003"):
            assert call(monkeypatch, capsys, "train", *SMALL, f"seed={seed}", f"train.lr={lr}").code == 0
    bank, lone = runs(tmp_path / "sweep/outputs/run"), runs(tmp_path / "lone/outputs/run")
    assert bank.keys() == lone.keys()
    assert len(bank) == 6
    for id, folder in lone.items():
        assert {p.name for p in folder.iterdir()} == {p.name for p in bank[id].iterdir()}
        for name in ("weights.safetensors", "snapshots.safetensors"):
            ours, theirs = load_file(bank[id] / name), load_file(folder / name)
            assert ours.keys() == theirs.keys()
            for key, value in theirs.items():
                torch.testing.assert_close(ours[key], value, rtol=1e-9, atol=1e-9)
        for name in ("config.yaml", "overrides.txt"):
            typed = [sorted((p / name).read_text().lower().splitlines()) for p in (bank[id], folder)]
            assert typed[0] == typed[1]
        assert close(
            json.loads((bank[id] / "result.json").read_text()), json.loads((folder / "result.json").read_text())
        )
        rows = [[json.loads(r) for r in (p / "metrics.jsonl").read_text().splitlines()] for p in (bank[id], folder)]
        assert close(*rows)


def test_a_grown_sweep_trains_only_what_is_new(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, capsys, "train", *SMALL, "-m", "seed=0,1").code == 0
    before = {id: p.stat().st_mtime_ns for id, p in runs(tmp_path / "outputs/run").items()}
    finished = call(monkeypatch, capsys, "train", "seed=0,1,2", *SMALL, "-m")
    assert "3 jobs, 3 members, 2 jobs already finished" in finished.out
    after = runs(tmp_path / "outputs/run")
    assert len(after) == 3
    for id in before:
        assert (after[id] / "done.json").stat().st_mtime_ns <= max(before.values()) + 10**9
    again = call(monkeypatch, capsys, "train", "seed=2", *SMALL)
    assert "already trained" in again.out


def test_a_failing_job_fails_alone_and_is_named(tmp_path, monkeypatch, capsys):
    """The other's bank finishes; the failing one says what went wrong; the sweep exits with 1."""
    monkeypatch.chdir(tmp_path)
    from icl.tasks.linear_regression import LinearRegression

    original = LinearRegression.sample

    def sample(self, batch_size, draw):
        if self.n_context == 5 and draw.name == "train" and draw.step == 3:
            raise RuntimeError("out of memory")
        return original(self, batch_size, draw)

    monkeypatch.setattr(LinearRegression, "sample", sample)
    finished = call(monkeypatch, capsys, "train", *SMALL, "-m", "task.n_context=4,5")
    assert finished.code == 1
    assert "1 of 2 jobs failed" in finished.err
    assert "task.n_context=5" in finished.err
    assert "RuntimeError: out of memory" in finished.err
    assert "task.n_context=4" not in finished.err
    assert len(runs(tmp_path / "outputs/run")) == 1


def test_a_diverging_member_is_named_and_touches_nobody(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    recipe = [*SMALL, "train.optimizer=sgd", "model.init_scale=30"]
    assert call(monkeypatch, capsys, "train", *recipe, "-m", "train.lr=1e-9,1e90").code == 0
    results = [json.loads((p / "result.json").read_text()) for p in runs(tmp_path / "outputs/run").values()]
    assert sorted(len(r["diverged"]) for r in results) == [0, 1]
    lone = call(monkeypatch, capsys, "train", *recipe, "train.lr=1e-9", "paths.outputs=alone")
    assert lone.code == 0
    (alone,) = runs(tmp_path / "alone/run").values()
    healthy = json.loads((tmp_path / "outputs/run" / alone.name / "result.json").read_text())
    assert close(healthy, json.loads((alone / "result.json").read_text()))


def test_jobs_that_differ_in_the_task_are_separate_banks_of_one_sweep(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, capsys, "train", *SMALL, "-m", "task.n_context=4,6", "seed=0,1").code == 0
    sizes = [
        json.loads((p / "result.json").read_text())["bank_members"] for p in runs(tmp_path / "outputs/run").values()
    ]
    assert sizes == [2, 2, 2, 2]
    assert not (tmp_path / "outputs/.banks").exists()


@pytest.mark.parametrize(
    ("overrides", "axes"),
    [
        ([["seed=0", "a=1"], ["seed=1", "a=1"]], ["seed"]),
        ([["seed=0", "a=1"], ["seed=1", "a=2"]], ["seed", "a"]),
        ([["+seed=0"]], []),
    ],
)
def test_axes_are_the_keys_that_vary(overrides, axes):
    assert swept(overrides) == axes


STUDY = ["model=causal_lm_tiny", "task=label_words_tiny", "task.n_demos=2", "launcher=bank", "debug=tiny"]


def test_a_sweep_over_a_language_model_asks_it_and_trains_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    probes = ["+probe@probes.icl=icl_accuracy", "seed=0,1"]
    finished = call(monkeypatch, capsys, "probe", "-m", *STUDY, *probes)
    assert finished.code == 0, finished
    folders = [p for p in (tmp_path / "outputs/run").iterdir() if (p / "comparisons.json").exists()]
    assert len(folders) == 2 + 1  # and the link to the latest


def test_a_sweep_that_would_train_a_language_model_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    finished = call(monkeypatch, capsys, "train", *STUDY, "seed=0,1")
    assert (finished.code, finished.err.count("\n")) == (2, 1)
    assert "a language model is not trained here" in finished.err
    assert list(tmp_path.iterdir()) == []
