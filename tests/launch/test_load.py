"""Thousands of members in one process, and thousands of folders from one sweep."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from command import SCRIPTS
from icl.config import Train
from icl.models.linear_attention import LinearAttention
from icl.objectives.last import Last
from icl.tasks.linear_regression import LinearRegression
from icl.training.bank import fit

GIB = 2**30
PEAK = "import resource, runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')\n" \
       "print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"  # fmt: skip
TINY = ["train.batch_size=4", "task.n_context=4", "progress=false", "train.n_snapshots=2"]


def command(cwd: Path, *arguments: str) -> str:
    """What `train` prints in a process of its own, and after it the largest memory that it ever had."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, SCRIPTS / "train.py", *arguments],
        cwd=cwd, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_4096_members_train_within_two_gibibytes(tmp_path):
    out = command(tmp_path, "n_seeds=4096", "task.dim=10", "train.stream=shared", "train.steps=20",
                  "train.batch_size=64", "train.n_snapshots=2", "progress=false")  # fmt: skip
    peak = int(out.split()[-1])
    print(f"\n4096 members: peak {peak / GIB:.2f} GiB")
    assert peak < 2 * GIB
    result = json.loads(next(tmp_path.glob("outputs/run/latest/result.json")).read_text())
    assert len(result["final_loss"]) == 4096
    assert result["diverged"] == []


@pytest.mark.slow
def test_a_sweep_of_1000_jobs_leaves_1000_correct_folders(tmp_path):
    begun = time.monotonic()
    command(tmp_path, *TINY, "task.dim=3", "train.steps=10", "dtype=float64", "seed=range(0,1000)", "launcher=bank")
    print(f"\n1000 jobs: {(time.monotonic() - begun) / 1000:.4f} s a job")
    folders = {}
    for path in tmp_path.glob("outputs/run/*/done.json"):
        if not path.parent.is_symlink():
            (seed,) = json.loads((path.parent / "result.json").read_text())["seeds"]
            folders[seed] = path.parent
    assert sorted(folders) == list(range(1000))
    assert not list(tmp_path.rglob("*.tmp"))
    assert not (tmp_path / "outputs/.banks").exists()
    task = LinearRegression(dim=3, n_context=4)
    for seed in (0, 1, 517, 999):
        run = load_run(folders[seed])
        lone = LinearAttention(**run["model"], dtype=torch.float64)
        fit(task, lone, Last(), Train(**run["train"]), seeds=[seed])
        for name, value in load_file(folders[seed] / "weights.safetensors").items():
            torch.testing.assert_close(value, lone.state_dict()[name], rtol=1e-9, atol=1e-9)


def load_run(folder: Path) -> dict:
    """The configuration of a run, without the targets."""
    import icl
    from icl.config.schema import plain

    cfg = plain(icl.load(folder).config)
    return {"model": {k: v for k, v in cfg["model"].items() if k != "_target_"}, "train": cfg["train"]}
