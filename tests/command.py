"""Commands as a user runs them: in this process (fast), or in one of its own."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from icl.config import conf_dir, main

SCRIPTS = conf_dir().parent / "scripts"


@dataclass
class Finished:
    code: int
    out: str
    err: str


def call(monkeypatch, capsys, command: str, *arguments: str) -> Finished:
    """`scripts/lab COMMAND ARGUMENTS` in this process."""
    defaults = {"experiment": "one_layer_is_one_gd_step"} if command == "reproduce" else {}
    monkeypatch.setattr(sys, "argv", [f"{command}.py", *arguments])
    code = 0
    try:
        main(command, **defaults)()
    except SystemExit as stop:
        code = int(stop.code or 0)
    captured = capsys.readouterr()
    return Finished(code, captured.out, captured.err)


def start(command: str, *arguments: str, cwd: Path, **environment: str) -> subprocess.Popen:
    """The same in a process of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | environment
    return subprocess.Popen(
        [sys.executable, str(SCRIPTS / f"{command}.py"), *arguments],
        cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finish(process: subprocess.Popen) -> Finished:
    out, err = process.communicate(timeout=120)
    return Finished(process.returncode, out, err)
