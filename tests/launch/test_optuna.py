"""A search over banks: two batches of four trials, in one process."""

import json

import pytest

from command import finish, start

pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="needs the extra `optuna`")
SEARCH = ["task.dim=3", "train.steps=12", "train.batch_size=4", "progress=false", "model.init_scale=1.0",
          "launcher=optuna", "hydra.sweeper.n_trials=8", "hydra.sweeper.n_jobs=4",
          "train.lr=tag(log,interval(1e-4,1e-1))"]  # fmt: skip


@pytest.mark.slow
def test_two_batches_of_four_trials_are_two_banks_and_one_report(tmp_path):
    finished = finish(start("train", *SEARCH, cwd=tmp_path))
    assert finished.code == 0, finished
    assert finished.out.count("sweep: 4 jobs, 4 members") == 2
    results = [json.loads(p.read_text()) for p in (tmp_path / "outputs/run").glob("[0-9a-f]*/result.json")]
    assert len(results) == 8
    assert {r["bank_members"] for r in results} == {4}
    (record,) = (tmp_path / "outputs/run").glob("sweep-*/sweep.json")
    swept = json.loads(record.read_text())
    assert swept["axes"] == ["train.lr"]
    assert len(swept["jobs"]) == 8
    best = (record.parent / "optimization_results.yaml").read_text()
    assert f"{min(r['final_loss'][0] for r in results):.6f}"[:6] in best
    again = finish(start("train", *SEARCH, cwd=tmp_path))
    assert "4 jobs already finished" in again.out  # the same draws of the sampler find the same folders
