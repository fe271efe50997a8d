"""A command in a fork of this process, and its death at a moment that was chosen before."""

import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

BROKEN = 70  # exit code of a command that ended in a traceback
WARM = ("icl", "matplotlib", "hydra", "safetensors")  # packages whose modules a second fork finds imported


@dataclass(frozen=True)
class Kill:
    """`how` at a `place`: after a fraction of the usual time, or at call number `when` of os.fsync or os.replace."""

    how: signal.Signals
    place: str
    when: float


def run(arguments: Sequence[str], folder: Path, kill: Kill | None, seconds: float = 0.0) -> int:
    """`train` in a fork of this process with `folder` as its place; returns its exit code, negative for a signal."""
    folder.mkdir(parents=True, exist_ok=True)
    child = os.fork()
    if child == 0:
        _child(arguments, folder, kill)
    if kill is not None and kill.place == "time":
        time.sleep(kill.when * seconds)
        os.kill(child, kill.how)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _child(arguments: Sequence[str], folder: Path, kill: Kill | None) -> None:
    code = BROKEN
    try:
        log = os.open(folder.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(folder)
        calls = _trap(kill)
        sys.argv = ["train.py", *arguments]
        from icl.config import main

        main("train")()
        code = 0
        modules = [name for name in sys.modules if name.split(".")[0] in WARM]
        folder.with_suffix(".about").write_text(json.dumps({"calls": calls, "modules": modules}))
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _trap(kill: Kill | None) -> dict[str, int]:
    """Count the writes and renames of this process, and die in the one that `kill` names."""
    calls = {"write": 0, "rename": 0}
    fsync, replace = os.fsync, os.replace

    def here(place: str) -> bool:
        calls[place] += 1
        return kill is not None and kill.place == place and calls[place] == kill.when

    def dying_fsync(file: int) -> None:
        if here("write") and kill is not None:
            if kill.how == signal.SIGKILL:
                os.ftruncate(file, os.fstat(file).st_size // 2)
            os.kill(os.getpid(), kill.how)
        fsync(file)

    def dying_replace(*paths: Path) -> None:
        if here("rename") and kill is not None:
            os.kill(os.getpid(), kill.how)
        replace(*paths)

    os.fsync, os.replace = dying_fsync, dying_replace
    return calls
