"""A disk that is full or read-only, a damaged checkpoint, a clock that jumps: one line, and nothing is lost."""

import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from safetensors.torch import load_file

from command import call
from icl.runs import RunError
from icl.training import checkpoints
from icl.training.checkpoints import NAME, PREVIOUS, REFUSED, load_checkpoint, save_checkpoint

LONG = ["task.dim=12", "task.n_context=3", "train.batch_size=4", "train.steps=40", "train.checkpoint_every=10",
        "progress=false"]  # fmt: skip


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Every write beyond `size` bytes fails, as on a full disk (the system says EFBIG for ENOSPC)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def weights(folder):
    (path,) = [p for p in folder.glob("run/*/weights.safetensors") if not p.parent.is_symlink()]
    return load_file(path)


def test_a_full_disk_in_the_middle_keeps_the_checkpoint_and_resumes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, capsys, "train", *LONG, "paths.outputs=whole").code == 0
    assert call(monkeypatch, capsys, "train", *LONG, "train.max_seconds=1e-9").code == 1  # stopped, with a checkpoint
    (checkpoint,) = tmp_path.glob(f"outputs/.banks/*/{NAME}")
    kept = checkpoint.read_bytes()
    with largest_file(len(kept) + 64):  # the configuration fits, a checkpoint with one more snapshot does not
        finished = call(monkeypatch, capsys, "train", *LONG)
    assert finished.code == 1
    assert finished.err.count("\n") == 1
    assert "File too large; what was saved before is kept, and the same command resumes" in finished.err
    assert kept in [p.read_bytes() for p in checkpoint.parent.iterdir()]
    assert not list(tmp_path.rglob("*.tmp"))
    assert call(monkeypatch, capsys, "train", *LONG).code == 0
    for name, value in weights(tmp_path / "whole").items():
        assert torch.equal(weights(tmp_path / "outputs")[name], value)


def test_no_room_even_for_the_configuration_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with largest_file(100):
        finished = call(monkeypatch, capsys, "train", *LONG)
    assert (finished.code, finished.err) == (2, "error: paths.outputs=outputs: cannot write there (File too large)\n")


MOUNTED = """
import subprocess, sys
subprocess.run(["mount", "-t", "tmpfs", "-o", sys.argv[1], "tmpfs", "outputs"], check=True)
code = subprocess.run([sys.executable, *sys.argv[2:]]).returncode
subprocess.run(["find", "outputs", "-name", "*.tmp"])
sys.exit(code)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "line"),
    [("size=40k", "No space left on device; what was saved before is kept"), ("ro", "cannot write there (Read-only")],
)
def test_small_and_read_only_file_systems(options, line, tmp_path):
    """A real one, mounted in a name space of its own."""
    from command import SCRIPTS

    (tmp_path / "outputs").mkdir()
    inside = ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*inside, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system lets nobody mount a file system of their own")
    ended = subprocess.run(
        [*inside, sys.executable, "-c", MOUNTED, options, SCRIPTS / "train.py", *LONG],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode in (1, 2), ended
    assert line in ended.stderr
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert ".tmp" not in ended.stdout


def saved(folder, step):
    save_checkpoint(folder, {"a": torch.arange(50.0) + step, "b": torch.zeros(0)}, {"step": step})


def test_every_flipped_bit_and_every_cut_is_noticed(tmp_path, capsys):
    """Of tensors, of the facts beside them, of the header: then the previous checkpoint is used."""
    saved(tmp_path, 1)
    saved(tmp_path, 2)
    good, older = (tmp_path / NAME).read_bytes(), (tmp_path / PREVIOUS).read_bytes()
    damaged = [good[:cut] for cut in range(0, len(good), 37)]
    for at in range(0, len(good), 3):
        flipped = bytearray(good)
        flipped[at] ^= 1 << (at % 8)
        damaged.append(bytes(flipped))
    changed = 0
    for data in damaged:
        (tmp_path / NAME).write_bytes(data)
        (tmp_path / PREVIOUS).write_bytes(older)
        found = load_checkpoint(tmp_path)
        assert found is not None
        tensors, about = found
        assert torch.equal(tensors["a"], torch.arange(50.0) + about["step"])
        if about["step"] == 1:
            changed += 1
            assert "going on from" in capsys.readouterr().out
            assert (tmp_path / REFUSED).read_bytes() == data
            assert (tmp_path / NAME).read_bytes() == older
    assert changed >= len(damaged) - 10  # a flipped blank in the header changes nothing


def test_a_checkpoint_of_another_version_is_named_and_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "FORMAT", "99")
    saved(tmp_path, 1)
    monkeypatch.undo()
    with pytest.raises(RunError, match=r"has format 99, this version reads \d+; start over with resume=false"):
        load_checkpoint(tmp_path)
    assert (tmp_path / NAME).exists()


def test_a_clock_that_jumps_changes_nothing(tmp_path, monkeypatch, capsys):
    """Wall-clock time decides nothing: neither budgets nor folders nor numbers."""
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, capsys, "train", *LONG, "paths.outputs=whole").code == 0
    jumps = iter([2e9, 1.0, 0.0, 4e9] * 10000)
    monkeypatch.setattr("time.time", lambda: next(jumps))
    assert call(monkeypatch, capsys, "train", *LONG, "train.max_seconds=100").code == 0
    monkeypatch.undo()
    for name, value in weights(tmp_path / "whole").items():
        assert torch.equal(weights(tmp_path / "outputs")[name], value)
    (result,) = [p for p in tmp_path.glob("outputs/run/*/result.json") if not p.parent.is_symlink()]
    assert 0 < json.loads(result.read_text())["wall_seconds"] < 1000
