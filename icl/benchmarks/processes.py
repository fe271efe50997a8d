"""Whole processes: the CPU time and the most memory of a command, from its start to its end."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from icl.benchmarks.timing import in_turn
from icl.runs import RunError

# Between us and the command stands a small process, since the peak memory of a child begins at that of its parent.
MEASURE = """
import json, os, sys
pid = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(pid, 0)
rss = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
json.dump([usage.ru_utime + usage.ru_stime, rss], open(sys.argv[1], "w"))
sys.exit(os.waitstatus_to_exitcode(status))
"""


@dataclass(frozen=True)
class Usage:
    """Of one process and its children."""

    cpu_seconds: float
    rss_mib: float


def usage(arguments: Sequence[str], folder: Path) -> Usage:
    """Run Python with `arguments` in the new `folder`.

    Raises:
        RunError: it failed.
    """
    folder.mkdir(parents=True)
    report = folder / "usage.json"
    command = [sys.executable, "-I", "-S", "-c", MEASURE, str(report), sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder, env=dict(os.environ), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last_line = (done.stderr.strip().splitlines() or ["nothing was printed"])[-1]
        raise RunError(f"{' '.join(arguments[1:])} exited with {done.returncode}: {last_line}")
    return Usage(*json.loads(report.read_text()))


def usages(commands: Mapping[str, Callable[[int], Sequence[str]]], rounds: int, folder: Path) -> dict[str, list[Usage]]:
    """Of every command, in turn; a command is a function of the round, and each run has a folder of its own."""
    found: dict[str, list[Usage]] = {name: [] for name in commands}

    def cpu_seconds(name: str) -> float:
        at, where = len(found[name]), folder / str(sum(map(len, found.values())))
        found[name].append(usage(commands[name](at), where))
        return found[name][-1].cpu_seconds

    in_turn(list(commands), rounds, cpu_seconds)
    return found
