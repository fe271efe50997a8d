"""Finetuning is training, or reproducing, with something to start from."""

from command import call

SMALL = ("model.dim=2", "task.dim=2", "task.n_context=3", "train.steps=2", "train.batch_size=4", "progress=false")


def test_without_a_start_there_is_nothing_to_finetune(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    finished = call(monkeypatch, capsys, "finetune", "experiment=one_layer_is_one_gd_step")
    assert finished.code == 2
    assert finished.err.startswith("error: nothing to finetune: state start=outputs/NAME/ID")
    assert list(tmp_path.iterdir()) == []


def test_it_trains_from_a_run_and_the_same_command_finds_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, capsys, "train", *SMALL).code == 0
    command = ("finetune", *SMALL, "start=outputs/run/latest", "name=tuned", "train.lr=0.1")
    assert call(monkeypatch, capsys, *command).code == 0
    again = call(monkeypatch, capsys, *command)
    assert again.code == 0
    assert "already trained" in again.out
