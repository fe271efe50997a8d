"""Killed at a random moment and started again: the same bits as never killed."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from command import SCRIPTS, finish, start

LONG = ["task.dim=3", "task.n_context=4", "train.steps=600", "train.batch_size=4", "train.checkpoint_every=20",
        "model.init_scale=1.0", "progress=false"]  # fmt: skip
CODES = {signal.SIGKILL: -9, signal.SIGTERM: 143}  # what the parent sees


def fingerprints(outputs: Path) -> dict[str, str]:
    """Run id / file -> hash, of everything that must not depend on an interruption."""
    return {
        f"{path.parent.name}/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest()
        for name in ("weights.safetensors", "snapshots.safetensors", "metrics.jsonl", "config.yaml")
        for path in sorted(outputs.glob(f"run/*/{name}"))
    }


def kill_while_training(arguments: list[str], cwd: Path, how: signal.Signals) -> None:
    """Start a run, and end it a random while after its first checkpoint (or let it finish, if it is faster)."""
    process = start("train", *arguments, cwd=cwd)
    while process.poll() is None and not list(cwd.glob("outputs/.banks/*/checkpoint.safetensors")):
        time.sleep(0.005)
    time.sleep(random.uniform(0, 0.15))
    process.send_signal(how)
    ended = finish(process)
    assert ended.code in (0, CODES[how]), ended.err
    if ended.code == 143:
        assert ended.err.endswith("interrupted; the same command resumes\n")


@pytest.mark.parametrize("how", CODES)
def test_a_killed_sweep_resumes_with_the_same_bits(how, tmp_path):
    sweep = [*LONG, "seed=0,1", "train.lr=1e-2,1e-3", "launcher=bank"]
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
    whole = start("train", *sweep, cwd=tmp_path / "whole")
    kill_while_training(sweep, tmp_path / "broken", how)
    assert finish(whole).code == 0
    resumed = finish(start("train", *sweep, cwd=tmp_path / "broken"))
    assert resumed.code == 0, resumed.err
    expected = fingerprints(tmp_path / "whole/outputs")
    assert len(expected) == 16
    assert fingerprints(tmp_path / "broken/outputs") == expected
    assert not list((tmp_path / "broken").rglob("*.tmp"))


@pytest.mark.slow
def test_twenty_random_kills_in_under_two_minutes():
    """`scripts/kill_runs.py` with n=200 is the long form; the forks must come from a process that ran nothing else."""
    begun = time.monotonic()
    process = subprocess.run(
        [sys.executable, SCRIPTS / "kill_runs.py", "n=20", "seed=7"], capture_output=True, text=True, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert process.returncode == 0, process.stdout + process.stderr
    assert ", 0 did not" in process.stdout
    assert int(process.stdout.split()[0]) >= 20
    assert time.monotonic() - begun < 120


@pytest.mark.slow
def test_the_random_kills_find_a_write_that_is_not_atomic(tmp_path):
    """The instrument itself: a checkpoint and a folder written in place must be reported."""
    program = """
import os, signal, sys
from pathlib import Path
import icl.runs

def in_place(path, data):
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())

icl.runs.write_bytes = in_place
from icl.benchmarks.faults import refer, torture
from icl.benchmarks.killing import Kill

here = Path(sys.argv[1])
met, wrong = torture(refer("run", here / "reference"), here / "x", [Kill(signal.SIGKILL, "write", 2)])
print(len(met), wrong)
"""
    found = subprocess.run(
        [sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert found.stdout.startswith("1 ['"), found.stdout + found.stderr
