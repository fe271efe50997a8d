"""The peer that graphs are timed against is the lab's own layer; every candidate of a GPU runs, and none waits."""

import json
import sys

import pytest
import torch

from icl.benchmarks import graph
from icl.benchmarks.command import bench
from icl.benchmarks.plain_linear_attention import PlainLinearAttention, plain_step
from icl.benchmarks.settings import Settings
from icl.benchmarks.timing import Candidate, Table
from icl.models.linear_attention import LinearAttention
from icl.pipelines.catalogue import plain_main
from icl.rng import Draw
from icl.tasks.linear_regression import LinearRegression
from tolerances import EXACT

TASK = LinearRegression(dim=3, n_context=5, inputs="uniform")


def test_the_peer_is_the_same_layer():
    plain = PlainLinearAttention(3).double()
    ours = LinearAttention(dim=3, dtype=torch.float64)
    with torch.no_grad():
        for name, weight in plain.named_parameters():
            weight.normal_()
            getattr(ours, name.removesuffix(".weight")).copy_(weight[None, None])
    prompt = TASK.sample(7, Draw([0], "peer", dtype=torch.float64)).prompt
    theirs, mine = plain(prompt.x[0], prompt.y[0], prompt.x_query[0]), ours.last(prompt)[0]
    torch.testing.assert_close(mine, theirs, **EXACT)
    gradients = torch.autograd.grad(theirs.square().sum(), list(plain.parameters()))
    for (name, _), gradient in zip(plain.named_parameters(), gradients, strict=True):
        own = torch.autograd.grad(ours.last(prompt).square().sum(), getattr(ours, name.removesuffix(".weight")))[0]
        torch.testing.assert_close(own[0, 0], gradient, **EXACT)


def test_the_peer_steps():
    call = plain_step(TASK, batch_size=4, clip=0.001, device="cpu", dtype=torch.float32)
    call()
    call()


def test_the_products_of_a_step_are_counted():
    """Backwards twice as many as forwards, but for the read-in, whose input has no gradient; and those of attention."""
    size = graph.gpt.Size(name="test", n_layers=2, width=8, n_heads=2, dim=3, n_context=4, batch_size=2)
    tokens, width = 2 * 10, 8
    dense = 2 * tokens * (size.n_layers * 12 * width**2 + width) * 3 + 2 * tokens * 3 * width * 2
    attention = size.n_layers * 2 * (2 * 10 * 10 * width) * 2
    counted = graph.step_flop(size, device="cpu", dtype=torch.float32)
    assert dense <= counted <= dense + 3.5 * attention


@pytest.mark.parametrize(("arguments", "words"), [(["--graph"], "needs --device cuda"), (["lsa", "--graph"], "'lsa'")])
def test_bad_input_is_one_line(monkeypatch, capsys, arguments, words):
    monkeypatch.setattr(sys, "argv", ["bench.py", *arguments])
    with pytest.raises(SystemExit) as stop:
        plain_main(bench)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_the_goals_are_those_of_the_spec(monkeypatch):
    found = {}

    def untimed(settings, title, candidates):
        found.update({(title.partition(",")[0], settings.dtype, c.name): c.ratios[-1].at_least
                      for c in candidates if c.ratios and c.ratios[-1].at_least})  # fmt: skip
        return Table(title=title, rows=[])

    steps = {
        graph: ("plain_step", "training_step"),
        graph.gpt: ("step", "plain_step"),
        graph.loop: ("step", "plain_step"),
    }
    for module, names in steps.items():
        for name in names:
            monkeypatch.setattr(module, name, lambda *a, **k: print)
    monkeypatch.setattr(graph.peak, "gemm", lambda *a: Candidate(name="GEMM", call=print, flop=1.0))
    monkeypatch.setattr(graph, "step_flop", lambda *a, **k: 1.0)
    monkeypatch.setattr(graph, "timed", untimed)
    list(graph.run(Settings(device="cpu")))
    assert found["one layer", "fp32", "bank M=512, graph"] == 300
    assert {v for (_, _, name), v in found.items() if name == graph.GRAPH} == {5.0, 0.30}
    assert {v for (_, _, name), v in found.items() if name == "bank M=32, graph"} == {10.0}


@pytest.mark.gpu
def test_the_graphs_of_a_gpu_are_timed(monkeypatch, tmp_path):
    target = tmp_path / "out.json"
    words = ["--device", "cuda", "--graph", "--quick", "--rounds", "2", "--seconds", "0.01", "--json", str(target)]
    monkeypatch.setattr(sys, "argv", ["bench.py", *words])
    plain_main(bench)
    found = json.loads(target.read_text())
    (table,) = found["workloads"]["graph"]["tables"]
    assert table["notes"] == ["waits for the device inside a step: none"]
    assert found["environment"]["gpu"]
