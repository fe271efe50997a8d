"""Folders of JSON lines: what they give, and which line is at fault when they do not."""

import json

import pytest

from icl.rng import Draw
from icl.tasks.text_classification import TextClassification

TEMPLATE = "Sentence: {text} Label:"


def write(folder, split, rows):
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n")


@pytest.fixture
def folder(tmp_path):
    for split, n in (("train", 20), ("validation", 12)):
        write(tmp_path, split, [{"text": f"{split} {i}", "label": ("Negative", "Positive")[i % 2]} for i in range(n)])
    return tmp_path


def task(folder, **options):
    return TextClassification(**{"path": str(folder), "template": TEMPLATE, "n_demos": 6, "n_validation": 4} | options)


def test_a_folder_gives_balanced_subsets_and_its_own_labels(folder):
    sample = task(folder).sample(8, Draw([0], "text"))
    assert list(sample.labels) == [" Negative", " Positive"]
    assert [len(part) for part in (sample.demos, sample.queries, sample.validation)] == [6, 8, 4]
    for part in (sample.demos, sample.queries, sample.validation):
        assert 2 * sum(e.label for e in part) == len(part)
    assert sample.demos[0].text.startswith("Sentence: train")
    assert all(e.text.startswith("Sentence: validation") for e in sample.queries)
    assert not set(sample.demos) & set(sample.validation)


def test_queries_depend_on_the_seed_alone(folder):
    first = task(folder).sample(8, Draw([0], "text")).queries
    for options in ({"n_demos": 2}, {"demo_seed": 5}, {"n_validation": 0}):
        assert task(folder, **options).sample(8, Draw([0], "text")).queries == first
    assert task(folder).sample(8, Draw([1], "text")).queries != first


def test_long_texts_are_cut(folder):
    assert task(folder, max_characters=5).sample(1, Draw([0], "text")).queries[0].text == "Sentence: valid Label:"


BAD = {
    "a missing field": ({"label": "Positive"}, r"train.jsonl, line 3: the field 'text' is missing"),
    "no text": ({"text": 7, "label": "Positive"}, r"train.jsonl, line 3: the field 'text' is missing or no text"),
    "not json": ("{text", r"train.jsonl, line 3: not valid JSON"),
    "another label": ({"text": "x", "label": "Neutral"}, r"line 3: label 'Neutral' is none of Negative, Positive"),
}


@pytest.mark.parametrize("what", BAD)
def test_file_and_line_are_named(folder, what):
    row, words = BAD[what]
    good = {"text": "good", "label": "Positive"}
    write(folder, "train", [good, good, row])
    with pytest.raises(ValueError, match=words):
        task(folder, labels=["Negative", "Positive"]).sample(2, Draw([0], "text"))


def test_what_is_refused(folder, tmp_path):
    with pytest.raises(ValueError, match=r"class 'Neutral' is empty"):
        task(folder, labels=["Negative", "Positive", "Neutral"]).sample(2, Draw([0], "text"))
    with pytest.raises(ValueError, match=r"train.jsonl cannot be read"):
        task(tmp_path / "nowhere").sample(2, Draw([0], "text"))
    with pytest.raises(ValueError, match="must name the fields"):
        task(folder, template="Sentence:")
    with pytest.raises(ValueError, match="give path=FOLDER"):
        TextClassification(template=TEMPLATE)
    with pytest.raises(ValueError, match="labels are the words for the classes"):
        TextClassification(template=TEMPLATE, hub="owner/name")


def test_a_hub_that_does_not_answer_says_where_to_point(monkeypatch):
    def nothing(*_, **__):
        raise ConnectionError("Couldn't reach the hub")

    monkeypatch.setattr("datasets.load_dataset", nothing)
    with pytest.raises(ValueError, match=r"point task.path at a folder with train.jsonl and validation.jsonl"):
        TextClassification(template=TEMPLATE, hub="owner/name", labels=["a", "b"]).sample(2, Draw([0], "text"))


def test_a_set_of_the_hub_is_read_by_its_columns(monkeypatch):
    from datasets import Dataset

    rows = Dataset.from_dict({"sentence": ["x", "y", "z", "w"], "label": [0, 1, 1, -1]})
    monkeypatch.setattr("datasets.load_dataset", lambda *_, **__: rows)
    options = {"template": TEMPLATE, "hub": "owner/other", "labels": ["no", "yes"], "hub_fields": {"text": "sentence"}}
    found = TextClassification(**options, n_demos=2).rows("train")
    assert found == [{"text": "x", "label": "no"}, {"text": "y", "label": "yes"}, {"text": "z", "label": "yes"}]
    with pytest.raises(ValueError, match="has no column 'text'"):
        TextClassification(**options | {"hub": "owner/third", "hub_fields": {}}).rows("train")
