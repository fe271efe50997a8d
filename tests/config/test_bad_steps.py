"""Bad input about steps: no thoughts, no loops, windows that are none; then what the library itself refuses."""

import pytest

from command import call

LOOPED = "experiment=looped_transformer_holds_beyond_training"
THOUGHTS = "experiment=thoughts_are_gd_steps"
BAD = {
    f"{THOUGHTS} model.n_thoughts=0": ["n_thoughts=0", ">= 1"],
    f"{THOUGHTS} objective.n_thoughts=-2": ["n_thoughts=-2", ">= 1"],
    f"{LOOPED} model.n_loops=0": ["n_loops=0", ">= 1"],
    f"{LOOPED} objective.window=17": ["window=17", "1..16"],
    f"{LOOPED} objective.window=0": ["window=0", "1..16"],
    f"{LOOPED} ++train.curriculum={{objective.n_loops:{{0:5,10:12}}}}": ["train.curriculum.objective.n_loops", "1..5"],
    "experiment=looping_extrapolates model.n_layers=0": ["n_layers=0", ">= 1"],
    "objective=every_step objective.steps=0": ["steps=0", ">= 1"],
    "model.n_layers=2 objective=every_step objective.steps=3": ["steps=3", "2"],
    "objective=window objective.n_loops=4 objective.window=2": ["LinearAttention", "no loops"],
}


@pytest.mark.parametrize("line", BAD)
def test_one_line_and_exit_code_two(line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    finished = call(monkeypatch, capsys, "train", *line.split(" "))
    assert (finished.code, finished.err.count("\n")) == (2, 1), finished.err
    for word in BAD[line]:
        assert word in finished.err
    assert list(tmp_path.iterdir()) == []


UNFIT = {  # comparisons that the model of the experiment does not suit, seen before the training
    "model.n_layers=2": ["comparisons.", "LinearAttention is not one layer"],  # more steps than the stack has layers
    "experiment=untied_stack_does_not_loop model=linear_attention objective=last": ["comparisons.loops", "passes"],
    "experiment=looping_extrapolates model.tied=false": ["comparisons.", "tied=true"],
    "experiment=layers_are_preconditioned_steps model.x_update=true": ["comparisons.", "x_update=false"],
    "experiment=the_copy_layer_is_an_induction_head model=linear_attention": ["comparisons.", "no first layer"],
}


@pytest.mark.parametrize("line", UNFIT)
def test_a_model_that_a_comparison_cannot_ask_is_refused_before_training(line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    finished = call(monkeypatch, capsys, "reproduce", *line.split(" "))
    assert (finished.code, finished.err.count("\n")) == (2, 1), finished.err
    for word in UNFIT[line]:
        assert word in finished.err
    assert list(tmp_path.iterdir()) == []


def test_weights_of_another_architecture_are_named(tmp_path, monkeypatch, capsys):
    """Tied for untied, thoughts for layers: the line names the folder, and no traceback is seen."""
    monkeypatch.chdir(tmp_path)
    asked = ["+algorithm@references.gd=gradient_descent_optimal", "+comparison@comparisons.loss=loss_ratio"]
    folders = {}
    for name, model in {"one": "model.n_layers=2", "other": "model.n_layers=3"}.items():
        assert call(monkeypatch, capsys, "train", "debug=tiny", f"name={name}", model).code == 0
        folders[name] = (tmp_path / "outputs" / name / "latest").resolve()
    assert call(monkeypatch, capsys, "train", "debug=tiny", "name=thoughts", THOUGHTS).code == 0
    folders["thoughts"] = (tmp_path / "outputs" / "thoughts" / "latest").resolve()
    for foreign in ("other", "thoughts"):
        weights = (folders[foreign] / "weights.safetensors").read_bytes()
        (folders["one"] / "weights.safetensors").write_bytes(weights)
        finished = call(monkeypatch, capsys, "compare", f"run={folders['one']}", *asked)
        assert (finished.code, finished.err.count("\n")) == (2, 1), finished.err
        assert "do not fit the model of config.yaml" in finished.err
        assert str(folders["one"]) in finished.err


def test_steps_outside_stability_are_a_warning_with_their_share(tmp_path, monkeypatch, capsys):
    """It is no error: the median may be well, and what the mean hides is said."""
    monkeypatch.chdir(tmp_path)
    with pytest.warns(UserWarning, match=r"step_size=1.2 diverges on [\d.]+ % of the tasks"):
        call(monkeypatch, capsys, "reproduce", THOUGHTS, "debug=tiny", "references.gd.step_size=1.2")
