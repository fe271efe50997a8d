"""Every workload runs and times the trainer's own step; its forms are one function, its goals those of the spec."""

from dataclasses import replace

import pytest
import torch

from icl.benchmarks import bank, deep, lsa, peak, sweep
from icl.benchmarks.settings import Settings, environment, peak_memory_mib
from icl.benchmarks.steps import CLIP, LossBy, last_form, token_form, training_step, von_oswald
from icl.benchmarks.timing import Table
from icl.config import Train
from icl.models.linear_attention import LinearAttention
from icl.objectives.last import Last
from icl.rng import Draw
from icl.training.bank import fit
from tolerances import EXACT

TINY = Settings(d=2, N=3, B=4, L=(2, 3), M=(1, 2, 33), rounds=1, seconds=0.0, quick=True)


@pytest.mark.parametrize("workload", [lsa, deep, bank, peak], ids=lambda module: module.__name__.split(".")[-1])
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_it_runs_with_tiny_sizes(workload, dtype, monkeypatch):
    monkeypatch.setattr(peak, "PEAK_SIZE", 64)
    tables = list(workload.run(replace(TINY, dtype=dtype)))
    for row in (row for table in tables for row in table.rows):
        assert row.seconds[0] > 0
        for verdict in row.verdicts:
            assert verdict.value.median > 0
            assert verdict.met is None  # the goals are for other sizes


@pytest.mark.parametrize(("forms", "n_layers"), [(lsa.FORMS, 1), (deep.FORMS, 2), (deep.FORMS, 3), (deep.FORMS, 4)])
def test_all_forms_of_a_workload_are_one_function(forms, n_layers, draw):
    model = LinearAttention(dim=3, n_layers=n_layers, init_scale=1.0, n_seeds=2, dtype=torch.float64)
    model.reset(Draw([0, 1], "forms", dtype=torch.float64))
    prompt = von_oswald(Settings(d=3, N=4)).sample(5, draw).prompt
    expected = token_form(model, prompt)
    assert expected.abs().max() > 1e-3
    for form in forms.values():
        torch.testing.assert_close(form(model, prompt), expected, **EXACT)


def test_what_is_timed_is_the_step_of_the_trainer():
    seen = {}

    def spy(model, prompt):
        seen["model"] = model
        return last_form(model, prompt)

    step = training_step(TINY, 2, objective=LossBy(guess=spy))
    for _ in range(3):
        step()
    model = LinearAttention(dim=2, n_seeds=2)
    train = Train(steps=3, batch_size=4, clip=CLIP, stream="shared")
    fit(von_oswald(TINY), model, Last(), train, seeds=[0, 1])
    for ours, theirs in zip(seen["model"].parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def goals(workload, monkeypatch) -> set[tuple[str, str, float]]:
    """(candidate, held against, at least) of a workload at its own sizes; nothing is timed."""
    candidates = []

    def untimed(self, title, found, *notes):
        candidates.extend(found)
        return Table(title=title, rows=[], notes=notes)

    monkeypatch.setattr(Settings, "table", untimed)
    monkeypatch.setattr(Settings, "fast_route", True)
    list(workload.run(Settings()))
    return {(c.name, r.to, r.at_least) for c in candidates for r in c.ratios if r.at_least is not None}


def test_the_goals_of_the_spec_are_the_ones_that_are_judged(monkeypatch):
    assert goals(lsa, monkeypatch) == {("last", "token form", 4.0)}
    routes = ("", ", fast route")
    expected = {(f"M={m}", "one model", 0.95) for m in (1, 4, 8, 32)}
    expected |= {(f"M=32{route}", "one model", 5.0) for route in routes}
    expected |= {(f"M=512{route}", f"GEMM 1024, float32{route}", 0.40) for route in routes}
    expected |= {("isotropic, population", f"isotropic, sampled{route}", 6.0) for route in routes}
    assert goals(bank, monkeypatch) == expected
    assert (sweep.SWEEP_GOAL, sweep.RSS_GOAL, sweep.FIRST_STEP_GOAL, sweep.LAUNCHER_GOAL) == (15, 350, 4, 20)


@pytest.mark.parametrize("other", [{"d": 5}, {"B": 64}, {"dtype": "bf16"}, {"threads": 2}])
def test_a_goal_holds_for_its_own_sizes(other):
    assert Settings().goal(4.0) == 4.0
    assert replace(Settings(), **other).goal(4.0) is None


def test_the_environment_has_no_path():
    found = environment(TINY)
    assert found["threads"] == 1
    assert found["fast_fp32_route_error"] > 0
    assert peak_memory_mib(TINY) > 50
    assert "/" not in str(found)
