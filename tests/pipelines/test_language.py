"""A study from the command line: resumed part by part, refused in one line, planned without loading."""

import json

import pytest

from command import call
from icl.config.app import arguments

TEXT = "model=causal_lm_tiny task=label_words_tiny +probe@probes.icl=icl_accuracy"
SMALL = (*TEXT.split(" "), "+algorithm@references.gd=fine_tune", "references.gd.lr=[0.01,0.1]", "n_seeds=2",
         "+comparison@comparisons.updates=update_similarity", "name=small", "task.n_demos=2",
         "probes.icl.by_demos=[]", "+claims.x={metric: gd/updates/sim_aou, at_most: 2}")  # fmt: skip


@pytest.fixture
def in_tmp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_same_command_finds_every_part_and_a_lost_one_is_measured_alone(in_tmp, monkeypatch, capsys):
    first = call(monkeypatch, capsys, "probe", *SMALL)
    assert first.code == 0, first.err
    folder = in_tmp / "outputs/small/latest"
    numbers, parts = json.loads((folder / "comparisons.json").read_text()), sorted(folder.glob("parts/*.json"))
    assert len(parts) == 4, "two seeds of a probe, and of one arm with one question"
    assert first.out.count("  seed ") == len(parts)
    lost = next(p for p in parts if json.loads(p.read_text())["at"] == "gd/updates")
    lost.unlink()
    again = call(monkeypatch, capsys, "probe", *SMALL)
    assert again.out.count("  seed ") == 1
    assert json.loads((folder / "comparisons.json").read_text()) == numbers
    report = (folder / "report.html").read_text()
    for words in ("Arms", "Layers", "Label histogram", "Claims hold"):
        assert words in report


def test_a_plan_loads_nothing_and_needs_no_file(in_tmp, monkeypatch, capsys):
    found = call(
        monkeypatch, capsys, "probe", "task=label_words_tiny", "model=llama3_8b", "probe.plan=true", "dtype=bfloat16"
    )
    assert found.code == 0, found.err
    assert "8.030 billion parameters; nothing was loaded" in found.out
    assert "weights in bfloat16: 14.96 GiB" in found.out
    assert "(128 KiB a token)" in found.out
    embeddings, layers = 2 * 128256 * 4096 * 2, 32 * 2 * (218_112_000 + 2 * 2 * 4096 * 1024)  # keys, values: twice more
    assert f"8 ranks {(embeddings + layers / 8) / 2**30:.2f}\n" in found.out
    assert "placed on 2 x 24 GiB: device 0:" in found.out
    assert list(in_tmp.iterdir()) == []


BAD = {
    "model=causal_lm_tiny": ["model:", "asks a language model", "task=label_words"],
    "task=label_words_tiny model.dim=2 model.n_outputs=1": ["task:", "asks a language model", "model=smollm2"],
    "model=causal_lm_tiny task=label_words_tiny": ["nothing to ask"],
    f"{TEXT} +comparison@comparisons.l=loss_ratio": ["comparisons.l", "reads numbers", "read words"],
    "+comparison@comparisons.u=update_similarity": ["comparisons.u", "reads words", "read numbers"],
    f"{TEXT} task.n_demos=99": ["n_demos=99", "18 examples"],
    f"{TEXT} model.name=nowhere.gguf": ["nowhere.gguf", "no such file"],
    f"{TEXT} model.name=some-owner/none": ["some-owner/none", "point model.name at a folder"],
    f"{TEXT} model.scoring=guess": ["model.scoring", "guess", "single_token"],
    f"{TEXT} task=text_classification task.path=nowhere": ["nowhere", "cannot be read"],
    f"{TEXT} +algorithm@references.gd=fine_tune references.gd.lr=fast": ["lr=", "fast"],
    f"{TEXT} +probe.plam=true": ["plam", "plan"],
    "probe.plan=true": ["plans a language model"],
    f"{TEXT} model.placement=auto devices=2": ["model.placement=auto", "devices=2", "two ways"],
    "task=multilevel_translation model.dim=2 model.n_outputs=1": [
        "task:",
        "MultilevelTranslation reads text",
        "model=surrogate_mlt",
    ],
}


@pytest.mark.parametrize("line", BAD)
def test_bad_input_is_one_line_and_exit_code_two(line, in_tmp, monkeypatch, capsys):
    finished = call(monkeypatch, capsys, "probe", *line.split(" "))
    assert finished.code == 2, finished
    assert finished.err.count("\n") == 1, finished.err
    for words in BAD[line]:
        assert words in finished.err
    assert list(in_tmp.iterdir()) == []


def test_labels_of_several_tokens_are_refused_with_the_other_route(in_tmp, monkeypatch, capsys):
    rows = [{"text": f"{i}", "label": ("so so", "Positive")[i % 2]} for i in range(8)]
    for split in ("train", "validation"):
        (in_tmp / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sized = "task.n_demos=2", "task.n_queries=4", "task.n_validation=0", "probes.icl.by_demos=[]"
    line = [*TEXT.replace("label_words_tiny", "text_classification").split(" "), "task.path=.", *sized]
    refused = call(monkeypatch, capsys, "probe", *line)
    assert refused.code == 2
    assert "label ' so so' is" in refused.err
    assert "model.scoring=mean_log_probability" in refused.err
    taken = call(monkeypatch, capsys, "probe", *line, "model.scoring=mean_log_probability")
    assert taken.code == 0, taken.err


@pytest.mark.parametrize("command", ["train", "compare"])
def test_commands_that_train_refuse_a_language_model(command, in_tmp, monkeypatch, capsys):
    finished = call(monkeypatch, capsys, command, *TEXT.split(" "))
    assert finished.code == 2
    assert "scripts/lab probe" in finished.err


def test_a_command_s_own_experiment_can_be_left_out():
    own = {"experiment": "icl_behaves_like_finetuning"}
    assert arguments(["n_seeds=1"], own) == ["experiment=icl_behaves_like_finetuning", "n_seeds=1"]
    assert arguments(["experiment=null", "n_seeds=1"], own) == ["n_seeds=1"]
    assert arguments(["experiment=other"], own) == ["experiment=other"]
    assert arguments(["run=outputs/x"], own) == ["run=outputs/x"]
