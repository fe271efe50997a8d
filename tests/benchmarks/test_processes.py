"""CPU time and peak memory of a command are its own."""

import pytest

from icl.benchmarks import sweep
from icl.benchmarks.processes import usage, usages
from icl.benchmarks.settings import Settings
from icl.runs import RunError


def test_memory_is_the_childs_not_its_parents(tmp_path):
    ballast = bytearray(b"x" * (200 << 20))  # fork would count it
    small = usage(["-c", "pass"], tmp_path / "small")
    large = usage(["-c", "x = bytearray(b'x' * (100 << 20))"], tmp_path / "large")
    assert len(ballast) == 200 << 20
    assert small.rss_mib < 100
    assert 95 < large.rss_mib - small.rss_mib < 220  # the literal and the array


def test_cpu_time_is_that_of_the_command(tmp_path):
    busy = "import time\nwhile time.process_time() < 0.3: pass"
    assert 0.3 <= usage(["-c", busy], tmp_path / "busy").cpu_seconds < 0.6
    assert usage(["-c", "import time; time.sleep(0.3)"], tmp_path / "idle").cpu_seconds < 0.2


def test_a_command_that_fails_is_named(tmp_path):
    with pytest.raises(RunError, match="exited with 1: ValueError: no"):
        usage(["-c", "raise ValueError('no')"], tmp_path / "failing")


def test_commands_run_in_turn_each_in_its_own_folder(tmp_path):
    commands = {name: lambda i, name=name: ["-c", f"open('{name}{i}', 'w')"] for name in "ab"}
    found = usages(commands, 2, tmp_path)
    assert [len(used) for used in found.values()] == [2, 2]
    written = [sorted(p.name for p in (tmp_path / str(i)).iterdir() if p.name != "usage.json") for i in range(4)]
    assert written == [["a0"], ["b0"], ["b1"], ["a1"]]


@pytest.mark.slow
def test_the_sweep_workload_runs(tmp_path):
    small = Settings(d=2, N=3, B=8, M=(3,), quick=True)
    assert [len(table.rows) for table in sweep.run(small)] == [2, 2]
    plan = sweep.Plan(settings=small, folder=tmp_path, jobs=3, rounds=2)
    hydra, own, whole, beyond_hydra, beyond_own = (row.verdicts[0].value.median for row in sweep.launcher(plan).rows)
    assert own < hydra
    assert whole - hydra == pytest.approx(beyond_hydra)
    assert whole - own == pytest.approx(beyond_own)
