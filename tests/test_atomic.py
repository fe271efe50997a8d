"""Files that are whole or not there, whoever was killed while writing them."""

import os
import subprocess
import sys

import pytest

from icl.atomic import write_bytes, write_json, write_link


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_bytes(path, b"old")

    def full_disk(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_what_a_killed_process_left_goes_with_the_next_write_and_a_living_one_keeps_its_own(tmp_path):
    path = tmp_path / "a.json"
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    remains = {int(dead.stdout): False, os.getppid(): True}
    for pid in remains:
        (tmp_path / f".a.json.{os.uname().nodename}.{pid}.tmp").write_bytes(b"half")
    write_json(path, {"a": 1})
    for pid, kept in remains.items():
        assert (tmp_path / f".a.json.{os.uname().nodename}.{pid}.tmp").exists() == kept
    assert path.read_text() == '{\n "a": 1\n}\n'


def test_a_link_is_replaced(tmp_path):
    for target in ("one", "other"):
        (tmp_path / target).mkdir()
        write_link(tmp_path / "latest", target)
        assert os.readlink(tmp_path / "latest") == target
    assert sorted(p.name for p in tmp_path.iterdir()) == ["latest", "one", "other"]
