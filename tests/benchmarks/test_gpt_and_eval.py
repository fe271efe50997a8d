"""The loops that prefixes are timed against are the same functions; the goals are those of the spec; steps repeat."""

from dataclasses import replace

import pytest
import torch

from icl.benchmarks import eval as prefixes
from icl.benchmarks import gpt
from icl.benchmarks.settings import Settings
from icl.benchmarks.timing import Table
from icl.rng import Draw
from icl.tasks.linear_regression import LinearRegression

SIZE = gpt.Size(name="test", n_layers=1, width=8, n_heads=2, dim=3, n_context=4, batch_size=2)


@pytest.mark.parametrize("name", list(prefixes.PAIRS))
def test_the_loop_of_the_source_is_every_prefix(name):
    loop, algorithm, _ = prefixes.PAIRS[name]
    task = LinearRegression(dim=3, n_context=8, noise_std=0.3)
    x, y = task.sample(5, Draw([0], "e", dtype=torch.float64)).prompt.positions()
    torch.testing.assert_close(algorithm.every_prefix(x, y)[-1], loop(x, y), rtol=1e-8, atol=1e-8)


def test_steps_can_be_called_again():
    kind = {"device": "cpu", "dtype": torch.float32}
    bank = gpt.step(replace(SIZE, n_seeds=3))
    for call in (gpt.step(SIZE), gpt.step(SIZE, fast=True), bank, gpt.plain_step(SIZE, **kind)):
        call()
        call()


def test_the_goals_are_those_of_the_spec(monkeypatch):
    found = []

    def untimed(self, title, candidates, *notes):
        found.extend((title.partition(":")[0], c.name, r.to, r.at_least) for c in candidates for r in c.ratios)
        return Table(title=title, rows=[], notes=notes)

    monkeypatch.setattr(Settings, "table", untimed)
    monkeypatch.setattr(Settings, "fast_route", False)
    monkeypatch.setattr(gpt, "step", lambda *a, **k: print)
    monkeypatch.setattr(gpt, "plain_step", lambda *a, **k: print)
    list(gpt.run(Settings()))
    steps = {(title, goal) for title, name, to, goal in found if to == gpt.PLAIN}
    assert steps == {("one step, tiny", 1.5), ("one step, small", 1.25), ("one step, standard", 1.1)}
    banks = {(title, name, goal) for title, name, to, goal in found if to == "one model"}
    assert ("banks, narrow", "M=32", 5.0) in banks
    assert {goal for title, _, goal in banks if title != "banks, narrow"} == {0.95}
    assert {name: goal for name, (_, _, goal) in prefixes.PAIRS.items()} == {
        "least squares": 2.5, "3 nearest neighbours": 15, "averaging": 8,
    }  # fmt: skip
