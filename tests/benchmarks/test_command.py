"""The command line of the benchmarks: what it refuses, what it prints, what it keeps."""

import json
import sys

import pytest
import torch

from icl.benchmarks.command import bench
from icl.pipelines.catalogue import plain_main

SMALL = ["--d", "2", "--N", "3", "--B", "4", "--rounds", "2", "--seconds", "0"]


def run(monkeypatch, capsys, *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["bench.py", *arguments])
    try:
        plain_main(bench)
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["lsaa"], ["lsaa", "did you mean 'lsa'"]),
        (["lsa", "--d", "0"], ["--d", "'0'", ">= 1"]),
        (["lsa", "--B", "many"], ["--B", "'many'"]),
        (["bank", "--M", "1,x"], ["--M", "'x'"]),
        (["lsa", "--seconds", "nan"], ["--seconds", "'nan'"]),
        (["lsa", "--seconds=-1"], ["--seconds", "'-1'"]),
        (["lsa", "--M", "4"], ["--M", "lsa"]),
        (["bank", "--L", "2"], ["--L", "bank"]),
        (["peak", "--d", "3"], ["--d", "peak"]),
        (["lsa", "--dtype", "fp8"], ["fp8", "bf16"]),
        (["lsa", "--fast"], ["--fast"]),
        (["lsa", "--device", "cuda", "--clock", "cpu"], ["--"]),
        (["lsa", "--json", "nowhere/out.json"], ["nowhere"]),
    ],
)
def test_bad_input_is_one_line(monkeypatch, capsys, arguments, words):
    code, out, err = run(monkeypatch, capsys, *arguments)
    assert code == 2
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("error: ")
    for word in words:
        assert word in err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_gpu_that_is_not_there(monkeypatch, capsys):
    code, _, err = run(monkeypatch, capsys, "lsa", "--device", "cuda")
    assert code == 2
    assert "no CUDA device" in err


def test_it_prints_and_keeps_what_it_measured(monkeypatch, capsys, tmp_path):
    target = tmp_path / "out.json"
    code, out, _ = run(monkeypatch, capsys, "lsa", *SMALL, "--json", str(target))
    assert code == 0
    assert "== lsa: one layer, one model, d=2 N=3 batch 4" in out
    assert "x token form" in out
    found = json.loads(target.read_text())
    assert found["command"] == f"scripts/bench.py lsa {' '.join(SMALL)}"
    assert str(tmp_path) not in target.read_text()
    (table,) = found["workloads"]["lsa"]["tables"]
    assert [row["name"] for row in table["rows"]] == ["token form", "Gram matrix", "vectors", "last"]
    assert all(len(row["ms"]["rounds"]) == 2 for row in table["rows"])
    assert found["environment"]["versions"]["torch"] == torch.__version__


def test_lists_of_sizes(monkeypatch, capsys):
    code, out, _ = run(monkeypatch, capsys, "deep", *SMALL, "--L", "3,2", "--M", "1,2")
    assert code == 0
    assert out.index("3 layers") < out.index("2 layers")
    assert "last, M=2" in out


def test_help_lists_the_workloads(monkeypatch, capsys):
    code, out, _ = run(monkeypatch, capsys, "--help")
    assert code == 0
    for name in ("lsa", "deep", "bank", "peak", "sweep"):
        assert f"  {name} " in out
