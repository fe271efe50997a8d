"""Sweeps whose jobs train in other processes leave what one process leaves."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from command import call, finish, start

SMALL = ["task.dim=3", "train.steps=12", "train.batch_size=4", "dtype=float64", "progress=false",
         "model.init_scale=1.0", "train.n_snapshots=4"]  # fmt: skip
SWEEP = [*SMALL, "seed=0,1,2"]


def weights(outputs: Path) -> dict[str, dict[str, torch.Tensor]]:
    return {p.parent.name: load_file(p) for p in outputs.glob("run/[0-9a-f]*/weights.safetensors")}


def the_same(ours: Path, theirs: Path) -> None:
    found, expected = weights(ours), weights(theirs)
    assert found.keys() == expected.keys()
    assert len(found) == 3
    for id, state in expected.items():
        for name, value in state.items():
            torch.testing.assert_close(found[id][name], value, rtol=1e-9, atol=1e-9)


@pytest.fixture
def in_one_process(tmp_path, monkeypatch, capsys) -> Path:
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, capsys, "train", *SWEEP, "launcher=bank", "paths.outputs=bank").code == 0
    return tmp_path / "bank"


@pytest.mark.slow
def test_a_bank_a_process_leaves_the_same_folders(in_one_process, tmp_path, monkeypatch, capsys):
    finished = call(monkeypatch, capsys, "train", *SWEEP, "launcher=local_processes", "hydra.launcher.n_processes=2")
    assert finished.code == 0, finished
    assert "sweep: 2 processes" in finished.out
    the_same(tmp_path / "outputs", in_one_process)
    assert "3 jobs already finished" in call(monkeypatch, capsys, "train", *SWEEP, "launcher=local_processes").out


@pytest.mark.slow
def test_submitit_runs_the_same_path_on_this_machine(in_one_process, tmp_path, monkeypatch, capsys):
    pytest.importorskip("submitit", reason="needs the extra `slurm`")
    finished = call(monkeypatch, capsys, "train", *SWEEP, "launcher=slurm_bank", "cluster=local",
                    "hydra.launcher.members=2")  # fmt: skip
    assert finished.code == 0, finished
    the_same(tmp_path / "outputs", in_one_process)
    logs = list((tmp_path / "outputs/run").glob("sweep-*/slurm/*_log.out"))
    assert len(logs) == 2


@pytest.mark.slow
def test_a_job_that_fails_in_a_worker_is_named_and_the_others_stay(tmp_path, monkeypatch, capsys):
    """Reading a folder that is a file fails in the worker only."""
    monkeypatch.chdir(tmp_path)
    finished = call(monkeypatch, capsys, "train", *SMALL, "train.lr=1e-3", "train.max_seconds=1e-9,1000",
                    "seed=0", "launcher=local_processes", "hydra.launcher.n_processes=2")  # fmt: skip
    assert finished.code == 0  # max_seconds is no part of a run: both are one job
    finished = call(monkeypatch, capsys, "train", *SMALL, "train.max_seconds=1e-9", "seed=1,2",
                    "launcher=local_processes", "hydra.launcher.n_processes=2")  # fmt: skip
    assert finished.code == 1
    assert "2 of 2 jobs failed" in finished.err
    assert "after train.max_seconds; the same command resumes" in finished.err


def child_of(process: subprocess.Popen, name: str) -> int | None:
    """The process id of a descendant whose command line has `name`."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if name in path.read_text() and str(process.args[1]).split("/")[-1] not in path.read_text():
                return int(path.parent.name)
        except OSError:
            continue
    return None


@pytest.mark.slow
def test_a_preempted_job_is_queued_again_and_ends_with_the_same_bits(tmp_path):
    """SIGUSR2 to the worker is what Slurm sends before it takes the machine away."""
    pytest.importorskip("submitit", reason="needs the extra `slurm`")
    long = [*SMALL, "train.steps=4000", "train.checkpoint_every=50", "seed=0,1", "launcher=slurm_bank", "cluster=local"]
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
    assert finish(start("train", *long, cwd=tmp_path / "whole")).code == 0
    process = start("train", *long, cwd=tmp_path / "broken")
    while process.poll() is None and not list((tmp_path / "broken").glob("outputs/.banks/*/checkpoint.safetensors")):
        time.sleep(0.01)
    worker = child_of(process, f"submitit.core._submit {tmp_path}/broken".replace(" ", "\0"))
    assert worker is not None
    os.kill(worker, signal.SIGUSR2)
    finished = finish(process)
    assert finished.code == 0, finished
    log = "".join(path.read_text() for path in (tmp_path / "broken").rglob("*_log.out"))
    assert "this job is" in log  # preempted, or timed out
    assert "Requeued job" in log
    found, expected = weights(tmp_path / "broken/outputs"), weights(tmp_path / "whole/outputs")
    assert found.keys() == expected.keys()
    for id, state in expected.items():
        assert all(torch.equal(found[id][name], value) for name, value in state.items())


def test_dry_prints_the_script_and_submits_nothing(tmp_path, monkeypatch, capsys):
    pytest.importorskip("submitit", reason="needs the extra `slurm`")
    monkeypatch.chdir(tmp_path)
    finished = call(monkeypatch, capsys, "train", *SWEEP, "launcher=slurm", "cluster=slurm_gpu", "device=cuda",
                    "cluster.partition=a100", "cluster.minutes=90", "hydra.launcher.dry=true")  # fmt: skip
    assert finished.code == 0, finished
    lines = finished.out.splitlines()
    assert "#!/bin/bash" in lines
    for line in ("--partition=a100", "--time=90", "--gpus-per-node=1", "--array=0-2%3", "--signal=USR2@120"):
        assert f"#SBATCH {line}" in lines
    assert not (tmp_path / "outputs").exists()


def test_without_slurm_one_line_says_so(tmp_path, monkeypatch, capsys):
    pytest.importorskip("submitit", reason="needs the extra `slurm`")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    finished = call(monkeypatch, capsys, "train", *SWEEP, "launcher=slurm")
    assert finished.code == 2
    assert "srun" in finished.err
    assert len(finished.err.splitlines()) == 1


def test_without_submitit_one_line_says_what_to_install(tmp_path, monkeypatch, capsys):
    import sys

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "submitit", None)
    finished = call(monkeypatch, capsys, "train", *SWEEP, "launcher=slurm")
    assert finished.code == 2
    assert "icl-lab[slurm]" in finished.err
