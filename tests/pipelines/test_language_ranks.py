"""A study over ranks: each with its seeds, or all of them with a share of every layer; the numbers of one process."""

import json
import math

import pytest

from command import call

ASKED = (
    "model=causal_lm_tiny", "task=label_words_tiny", "task.n_demos=2", "n_seeds=2", "name=small", "dtype=float64",
    "+probe@probes.icl=icl_accuracy", "probes.icl.by_demos=[0,2]", "+algorithm@references.gd=fine_tune",
    "+algorithm@references.untrained=fine_tune", "references.untrained.start=trained_embeddings",
    "references.untrained.scope=full", "references.untrained.optimizer=adam",
    "+algorithm@references.lcgd=layer_causal_gd", "references.lcgd.match=layer",
    "+comparison@comparisons.updates=update_similarity", "+comparison@comparisons.attention=attention_similarity",
)  # fmt: skip
SHARDED = ("devices=2", "accelerate=fsdp2")


def numbers(folder):
    return json.loads((folder / "small/latest/comparisons.json").read_text())["numbers"]


@pytest.mark.slow
@pytest.mark.parametrize("over", [("devices=2",), SHARDED], ids=["a copy a rank", "sharded"])
def test_ranks_find_what_one_process_finds(over, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    alone = call(monkeypatch, capsys, "probe", *ASKED, "paths.outputs=alone")
    assert alone.code == 0, alone.err
    ranks = call(monkeypatch, capsys, "probe", *ASKED, "paths.outputs=ranks", *over)
    assert ranks.code == 0, ranks.err
    expected, found = numbers(tmp_path / "alone"), numbers(tmp_path / "ranks")
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        for a, b in zip(found[key], values, strict=True):
            assert (a is None) == (b is None), key
            assert a is None or math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9), key
    parts = sorted((tmp_path / "ranks/small/latest/parts").glob("*.json"))
    assert [p.name for p in parts] == [p.name for p in sorted((tmp_path / "alone/small/latest/parts").glob("*.json"))]
    again = call(monkeypatch, capsys, "probe", *ASKED, "paths.outputs=ranks")
    assert "  seed " not in again.out


@pytest.mark.slow
def test_ranks_refuse_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    refused = call(monkeypatch, capsys, "probe", *ASKED, "task.n_demos=99", *SHARDED)
    assert refused.code == 2, refused
    assert refused.err.count("\n") == 1, refused.err
    assert "n_demos=99" in refused.err
    assert list(tmp_path.iterdir()) == []
