"""A real Slurm: what its jobs leave, and what happens when it takes machines away, stops jobs or loses them.

Any cluster will do where `sbatch` needs no more than SBATCH_PARTITION and SBATCH_ACCOUNT to accept a job of one core
and 1 GB. One machine is enough: slurmctld, `slurmd -N n1` and `slurmd -N n2` on 127.0.0.1.
"""

import shutil
import subprocess
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from command import Finished, start

SMALL = ("task.dim=3", "train.batch_size=8", "dtype=float64", "progress=false", "model.init_scale=1.0",
         "train.n_snapshots=4", "train.checkpoint_every=50")  # fmt: skip
ASKED = ("cluster.memory_gb=1", "cluster.cpus=1", "cluster.minutes=30")
LONG = "train.steps=3000"  # some ten seconds


def queue(*arguments: str) -> list[str]:
    return subprocess.run(["squeue", "--noheader", *arguments], capture_output=True, text=True).stdout.split()


def no_slurm() -> str:
    """Why there is no Slurm here; nothing if there is."""
    pytest.importorskip("submitit", reason="needs the extra `slurm`")
    if shutil.which("sinfo") is None:
        return "no Slurm here: there is no `sinfo`"
    said = subprocess.run(["sinfo", "--noheader", "--states=idle,mix"], capture_output=True, text=True)
    return "" if said.stdout.strip() else f"no node of Slurm is up: {said.stderr.strip()}"


pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(no_slurm()), reason=no_slurm() or "-")]


def ended(process: subprocess.Popen) -> Finished:
    out, err = process.communicate(timeout=3600)
    return Finished(process.returncode, out, err)


def trained(folder: Path, *arguments: str) -> Finished:
    folder.mkdir()
    return ended(start("train", *SMALL, *arguments, cwd=folder))


def weights(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    return {p.parent.name: load_file(p) for p in folder.glob("outputs/run/[0-9a-f]*/weights.safetensors")}


def assert_same_bits(ours: Path, theirs: Path) -> None:
    found, expected = weights(ours), weights(theirs)
    assert found.keys() == expected.keys()
    assert expected
    for id, state in expected.items():
        assert all(torch.equal(found[id][name], value) for name, value in state.items())


def started(folder: Path, *arguments: str, checkpoints: int) -> tuple[subprocess.Popen, str]:
    """The command, when its Slurm jobs have left so many first checkpoints, and the id of the job or its array."""
    folder.mkdir()
    process = start("train", *SMALL, *ASKED, *arguments, cwd=folder)
    while process.poll() is None and len(list(folder.glob("outputs/.banks/*/checkpoint.safetensors"))) < checkpoints:
        time.sleep(0.1)
    scripts = list(folder.glob("outputs/run/sweep-*/slurm/*_submission.sh"))
    assert scripts, ended(process)
    return process, scripts[0].name.split("_")[0]


def scontrol(*arguments: str) -> None:
    subprocess.run(arguments, check=True)


def log(folder: Path) -> str:
    return "".join(path.read_text() for path in sorted(folder.glob("outputs/run/sweep-*/slurm/*_log.out")))


@pytest.mark.parametrize("launcher", [("launcher=slurm",), ("launcher=slurm_bank", "hydra.launcher.members=2")])
def test_a_sweep_leaves_the_folders_of_one_process(launcher, tmp_path):
    sweep = ("train.steps=12", "seed=0,1,2")
    assert trained(tmp_path / "bank", *sweep, "launcher=bank").code == 0
    found = trained(tmp_path / "slurm", *sweep, *launcher, *ASKED)
    assert found.code == 0, found
    ours, theirs = weights(tmp_path / "slurm"), weights(tmp_path / "bank")
    assert len(theirs) == 3
    assert ours.keys() == theirs.keys()
    for id, state in theirs.items():
        for name, value in state.items():
            torch.testing.assert_close(ours[id][name], value, rtol=1e-9, atol=1e-9)
    again = ended(start("train", *SMALL, *sweep, *launcher, *ASKED, cwd=tmp_path / "slurm"))
    assert "3 jobs already finished" in again.out
    assert "Slurm jobs" not in again.out


@pytest.mark.parametrize("how", ["warned", "requeued"])
def test_a_job_that_is_taken_away_goes_on_with_the_same_bits(how, tmp_path):
    """By the signal that Slurm sends before it takes a machine, or by the administrator's command."""
    assert trained(tmp_path / "whole", LONG, "seed=0,1", "launcher=bank").code == 0
    sweep = (LONG, "seed=0,1", "launcher=slurm_bank")
    process, job = started(tmp_path / "broken", *sweep, checkpoints=1)
    scontrol(*{"warned": ("scancel", "--signal=USR2", job), "requeued": ("scontrol", "requeue", job)}[how])
    found = ended(process)
    assert found.code == 0, found
    said = log(tmp_path / "broken")
    assert said.count("Starting with JobEnvironment") == 2
    assert ("Requeued job" in said) == (how == "warned")  # by the job itself
    assert_same_bits(tmp_path / "broken", tmp_path / "whole")


def test_a_job_that_runs_out_of_its_minutes_goes_on_with_the_same_bits(tmp_path):
    """Slurm may warn a minute early: after half a minute, or after one and a half."""
    steps = "train.steps=45000"
    assert trained(tmp_path / "whole", steps, "launcher=bank").code == 0
    folder = tmp_path / "broken"
    found = trained(folder, steps, *ASKED, "cluster.minutes=2", "cluster.warning_seconds=30", "launcher=slurm")
    assert found.code == 0, found
    assert "this job is timed-out" in log(folder)
    assert "Requeued job" in log(folder)
    assert_same_bits(folder, tmp_path / "whole")


def test_a_job_that_is_lost_fails_alone(tmp_path):
    process, job = started(tmp_path / "sweep", LONG, "seed=0,1,2", "launcher=slurm", checkpoints=3)
    scontrol("scancel", f"{job}_1")
    found = ended(process)
    assert found.code == 1
    assert "1 of 3 jobs failed; the others are done:" in found.err
    (line,) = [line for line in found.err.splitlines() if f"Slurm job {job}_1: CANCELLED" in line]
    assert "seed=1" in line
    assert len(weights(tmp_path / "sweep")) == 2
    again = ended(start("train", *SMALL, LONG, "seed=0,1,2", "launcher=bank", cwd=tmp_path / "sweep"))
    assert again.code == 0
    assert "2 jobs already finished" in again.out
    assert len(weights(tmp_path / "sweep")) == 3


def test_dry_submits_nothing(tmp_path):
    before = queue("--me", "--states=all", "--format=%i")
    found = trained(tmp_path / "dry", "seed=0,1", "launcher=slurm", *ASKED, "hydra.launcher.dry=true")
    assert (found.code, found.err) == (0, "")
    script = found.out[found.out.index("#!/bin/bash\n") :]
    assert queue("--me", "--states=all", "--format=%i") == before
    (tmp_path / "job.sh").write_text(script)
    said = subprocess.run(["sbatch", "--test-only", str(tmp_path / "job.sh")], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr


def test_two_nodes_train_one_model(tmp_path):
    """Torch elastic on each node, gloo between them: what two ranks of one machine leave."""
    if int(subprocess.run(["sinfo", "-h", "-o", "%D"], capture_output=True, text=True).stdout.split()[0]) < 2:
        pytest.skip("this Slurm has one node")
    job = ("train.steps=60", "n_seeds=2", "accelerate=multi_cpu")
    assert trained(tmp_path / "ranks", *job, "devices=2").code == 0
    found = trained(tmp_path / "nodes", *job, "accelerate.nodes=2", "launcher=slurm", "cluster.nodes=2", *ASKED)
    assert found.code == 0, found
    (ours,), (theirs,) = weights(tmp_path / "nodes").values(), weights(tmp_path / "ranks").values()
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-9, atol=1e-9)
