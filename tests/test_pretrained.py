"""A trained model goes out and comes back the same, without its run folder and without the network."""

import json

import pytest
import torch

from command import call
from icl.config import ConfigError
from icl.models.linear_attention import LinearAttention
from icl.pretrained import CONFIG, WEIGHTS, from_pretrained, push_to_hub, save_pretrained
from icl.rng import Draw
from icl.runs import RunError, load
from icl.tasks.linear_regression import LinearRegression


@pytest.fixture
def bank(draw):
    model = LinearAttention(dim=3, n_layers=2, n_seeds=2, dtype=torch.float64, init_scale=1.0)
    model.reset(Draw([5, 9], "init", dtype=torch.float64))
    return model


def same(a, b) -> bool:
    return all(torch.equal(b.state_dict()[key], value) for key, value in a.state_dict().items())


def test_what_a_command_trained_predicts_the_same_from_the_directory(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    finished = call(monkeypatch, capsys, "train", "task.dim=3", "train.steps=3", "train.batch_size=4", "n_seeds=2",
                    "dtype=float64", "seed=4", "progress=false")  # fmt: skip
    assert finished.code == 0, finished
    target = save_pretrained("outputs/run/latest", tmp_path / "out")
    assert {path.name for path in target.iterdir()} == {CONFIG, WEIGHTS}
    about = json.loads((target / CONFIG).read_text())
    assert about["seeds"] == [4, 5]
    assert about["task"]["_target_"] == "icl.tasks.linear_regression.LinearRegression"
    run = load("outputs/run/latest")
    (tmp_path / "outputs").rename(tmp_path / "gone")
    model = from_pretrained(target)
    prompt = LinearRegression(dim=3, n_context=10).sample(7, Draw([0], "p", dtype=torch.float64)).prompt
    expected = run.__class__(run.folder.__class__(tmp_path / "gone/run" / run.folder.path.resolve().name)).model
    torch.testing.assert_close(model(prompt), expected(prompt), rtol=0, atol=0)


def test_a_model_of_the_hand_round_trips(bank, tmp_path):
    again = from_pretrained(save_pretrained(bank, tmp_path, seeds=[5, 9]))
    assert same(bank, again)
    assert json.loads((tmp_path / CONFIG).read_text())["seeds"] == [5, 9]


@pytest.mark.parametrize("target", ["os.system", "torch.hub.load", "torch.load", "icl.runs.load"])
def test_a_stranger_names_no_code(target, bank, tmp_path):
    save_pretrained(bank, tmp_path)
    about = json.loads((tmp_path / CONFIG).read_text())
    (tmp_path / CONFIG).write_text(json.dumps(about | {"model": {"_target_": target}}))
    with pytest.raises(ConfigError, match="is not allowed"):
        from_pretrained(tmp_path)


def test_files_that_do_not_fit_are_said_in_one_line(bank, tmp_path):
    save_pretrained(bank, tmp_path)
    data = (tmp_path / WEIGHTS).read_bytes()
    (tmp_path / WEIGHTS).write_bytes(data[:-8])
    with pytest.raises(RunError, match="does not fit"):
        from_pretrained(tmp_path)
    (tmp_path / WEIGHTS).unlink()
    with pytest.raises(RunError, match=r"has no model\.safetensors"):
        from_pretrained(tmp_path)
    (tmp_path / CONFIG).write_text("{}")
    with pytest.raises(RunError, match="not of this library"):
        from_pretrained(tmp_path)
    with pytest.raises(RunError, match="is no directory, and the hub gave nothing"):
        from_pretrained("nobody/nothing")  # HF_HUB_OFFLINE is set


def test_pushing_uploads_the_same_directory(bank, tmp_path, monkeypatch):
    import huggingface_hub

    sent = {}

    class Hub:
        def create_repo(self, name, *, private, exist_ok):
            sent["private"] = private

        def upload_folder(self, *, repo_id, folder_path):
            again = from_pretrained(folder_path)
            sent["same"] = same(bank, again)
            return f"https://example.invalid/{repo_id}"

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    assert push_to_hub(bank, "me/it").endswith("me/it")
    assert sent == {"private": True, "same": True}
