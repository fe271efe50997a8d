"""Two processes never train one job: the second says which one does, and the lock dies with its holder."""

import subprocess
import sys

import pytest

import icl
from command import call
from icl.runs import RunError
from icl.training.locks import NO_LOCKS, Locks, place

HOLDER = """import sys
from icl.training.locks import Locks, Path
with Locks(Path("outputs"), sys.argv[1:]):
    print(1, flush=True)
    input()
"""
SWEEP = ["debug=tiny", "seed=0,1", "launcher=bank"]


@pytest.fixture
def hold(tmp_path, monkeypatch):
    """A function that starts a process holding the locks of some jobs, in this test's folder."""
    monkeypatch.chdir(tmp_path)
    started = []

    def start(*keys: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, *keys], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_second_process_is_refused_and_told_which_is_the_first(hold, tmp_path):
    first = hold("run/a", "run/b")
    with pytest.raises(RunError, match=rf"run/b is being trained by process {first.pid}; wait for it or end it"):
        Locks(tmp_path / "outputs", ["run/b"]).__enter__()
    with Locks(tmp_path / "outputs", ["run/c"]):  # another job of the same folder is free
        pass


def test_a_lock_dies_with_its_process(hold, tmp_path):
    first = hold("run/a")
    first.kill()
    first.wait()
    with Locks(tmp_path / "outputs", ["run/a"]):
        pass


def test_a_lone_run_and_a_sweep_of_a_training_job_are_refused(hold, tmp_path, monkeypatch, capsys):
    """As a user sees it: exit code 2, one line, and the folders of the first process as they were."""
    assert call(monkeypatch, capsys, "train", *SWEEP).code == 0
    runs = sorted(p for p in (tmp_path / "outputs/run").iterdir() if (p / "done.json").exists())
    (runs[0] / "done.json").unlink()
    before = {p: p.stat().st_mtime_ns for p in runs[0].iterdir()}
    first = hold(f"run/{runs[0].name}")
    seed = icl.load(runs[0]).config.seed
    for arguments in (SWEEP, ["debug=tiny", f"seed={seed}"]):
        finished = call(monkeypatch, capsys, "train", *arguments)
        assert (finished.code, finished.err.count("\n")) == (2, 1), finished
        assert f"{runs[0].name} is being trained by process {first.pid}" in finished.err
    assert {p: p.stat().st_mtime_ns for p in runs[0].iterdir()} == before
    first.kill()
    first.wait()
    assert call(monkeypatch, capsys, "train", *SWEEP).code == 0
    assert not (tmp_path / "outputs/.banks").exists()


def test_where_there_are_no_locks_it_is_said(tmp_path, monkeypatch, capsys):
    def none(*_):
        raise OSError(NO_LOCKS[0], "No locks available")

    monkeypatch.setattr("fcntl.lockf", none)
    with Locks(tmp_path, ["run/a"]):
        assert "no file locks" in capsys.readouterr().out


def test_places_are_apart():
    assert len({place(f"run/{i}") for i in range(5000)}) == 5000
