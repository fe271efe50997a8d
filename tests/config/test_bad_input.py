"""Bad input: one line that says what, where and what is allowed; exit code 2; nothing made, nothing overwritten."""

import pytest

from command import call, finish, start

BAD = {
    "foo=1": ["foo"],
    "+foo=1": ["foo is unknown"],
    "trian.lr=1": ["trian", "train"],
    "train.lrr=1": ["lrr", "lr"],
    "~seed": ["seed is missing"],
    "model.dim=???": ["model.dim", "missing"],
    "seed=abc": ["seed", "abc"],
    "train.lr=fast": ["train.lr", "fast"],
    "train.lr=nan": ["train.lr=nan", ">= 0"],
    "train.weight_decay=nan": ["train.weight_decay=nan"],
    "train.betas=[0.9,7]": ["train.betas", "[0, 1)"],
    "train.steps=-1": ["train.steps=-1", ">= 0"],
    "train.optimizer=novograd n_seeds=2": ["novograd", "mix", "n_seeds=2", "lion"],
    "task=causal_graph model=disentangled_transformer objective=cross_entropy task.n_context=3 task.graph=[-1,2,1]": [
        "graph[1]=2",
        "before its child",
        "no cycle",
    ],
    "train.optimizer=muon": ["muon", "mix", "lion"],
    "++train.optimizer_options={r:1}": ["optimizer_options", "not for adam"],
    "train.schedule=restarts": ["restart_every"],
    "train.clip_share=1": ["clip_share=1", "[0, 1)"],
    "train.adaptive_clip=0": ["adaptive_clip=0", "> 0"],
    "train.optimizer=sign accelerate=multi_cpu devices=2": ["optimizer=sign", "banks"],
    "n_seeds=0": ["n_seeds=0", ">= 1"],
    "task=linear_regresion": ["linear_regresion", "linear_regression"],
    "task.dimm=4": ["dimm", "dim"],
    "+task.dimm=4": ["task.dimm is unknown", "dim"],
    "~task.dim": ["task.dim", "not found"],
    "task.noise_std=loud": ["task.noise_std", "loud", "float"],
    "task.noise_std=-1": ["noise_std=-1", ">= 0"],
    "task.n_context=0": ["n_context=0", ">= 1"],
    "task.inputs=gausian": ["gausian", "gaussian"],
    "task.covariance_spectrum=[1,1,1,1,0]": ["positive definite"],
    "model.n_layers=0": ["n_layers=0", ">= 1"],
    "model._target_=os.system": ["os.system", "not allowed"],
    "+task.w._target_=torch.hub.load": ["torch.hub.load", "not allowed"],
    "device=cuda": ["device=cuda"],
    "device=gpu": ["gpu", "cpu"],
    "dtype=float16": ["float16", "float32"],
    "seed=1,2": ["seed"],
    "++train.curriculum={task.n_contxt:{0:3}}": ["n_contxt", "n_context"],
    "objective=population task.target=relu": ["target=linear"],
    "objective=population model.n_layers=2": ["one layer", "2"],
}


@pytest.mark.parametrize("line", BAD)
def test_one_line_and_exit_code_two(line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if line == "device=cuda":
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    finished = call(monkeypatch, capsys, "train", *line.split(" "))
    assert finished.code == 2, finished
    assert finished.err.count("\n") == 1, finished.err
    assert finished.err.startswith("error: ")
    for word in BAD[line]:
        assert word in finished.err
    assert list(tmp_path.iterdir()) == []


def test_a_claim_on_an_unknown_metric_is_refused_before_training(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    finished = call(monkeypatch, capsys, "reproduce", "claims.loss.metric=gd_optimal/loss/los_ratio")
    assert finished.code == 2
    assert "gd_optimal/loss/loss_ratio" in finished.err
    assert list(tmp_path.iterdir()) == []


def test_one_bad_job_of_a_sweep_stops_it_before_the_first(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    finished = call(monkeypatch, capsys, "train", "-m", "train.lr=1e-3,nan")
    assert finished.code == 2
    assert finished.err.count("\n") == 1
    assert "job #1 (train.lr=nan)" in finished.err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "outputs").write_text("a file where a folder should be")
    monkeypatch.chdir(tmp_path)
    finished = call(monkeypatch, capsys, "train", "debug=tiny")
    assert finished.code == 2
    assert "paths.outputs=outputs" in finished.err
    assert finished.err.count("\n") == 1


def test_comparing_a_folder_that_is_no_run_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    finished = call(monkeypatch, capsys, "compare", f"run={tmp_path}")
    assert finished.code == 2
    assert "config.yaml" in finished.err


def test_truncated_and_foreign_weights_are_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, capsys, "train", "debug=tiny").code == 0
    (run,) = [p for p in (tmp_path / "outputs" / "run").iterdir() if p.is_dir() and not p.is_symlink()]
    asked = ["+algorithm@references.gd=gradient_descent_optimal", "+comparison@comparisons.loss=loss_ratio"]
    weights = run / "weights.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-9])
    finished = call(monkeypatch, capsys, "compare", f"run={run}", *asked)
    assert (finished.code, "truncated" in finished.err) == (2, True)
    other = call(monkeypatch, capsys, "train", "debug=tiny", "task.dim=3")
    assert other.code == 0
    foreign = next(p for p in (tmp_path / "outputs" / "run").iterdir() if p != run and not p.is_symlink())
    weights.write_bytes((foreign / "weights.safetensors").read_bytes())
    finished = call(monkeypatch, capsys, "compare", f"run={run}", *asked)
    assert (finished.code, "do not fit" in finished.err) == (2, True)


def test_the_same_from_a_process_of_its_own(tmp_path):
    """What the shell sees: no traceback, one line, exit code 2."""
    finished = finish(start("train", "task.noise_std=-1", cwd=tmp_path))
    assert (finished.code, finished.out, finished.err.count("\n")) == (2, "", 1)
    assert list(tmp_path.iterdir()) == []
