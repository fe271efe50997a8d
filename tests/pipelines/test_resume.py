"""Killed at a random moment and started again: the same bits as never killed."""

import hashlib
import random
import signal
import time
from pathlib import Path

import pytest

from command import finish, start

LONG = ["task.dim=3", "task.n_context=4", "train.steps=600", "train.batch_size=4", "train.checkpoint_every=20",
        "model.init_scale=1.0", "progress=false"]  # fmt: skip


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
    process.communicate(timeout=60)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
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
