"""One process trains a job at a time; a second one is told which process does.

A job is one byte of the file `outputs/.lock`, at the place that its key hashes to, held by a POSIX record lock. The
kernel releases it when the process dies, however it dies, so no lock is ever stale; a sweep of thousands holds one open
file. A bank holds the bytes of all its unfinished jobs, so a lone run of one of them is refused while the bank trains.

On a network file system this asks the server's lock manager (NFS 4 always has one). Where there is none, a line says
that nothing guards the folder. The locks are the process's own: a fork does not have them, and closing the file
anywhere in the process drops them, so nothing else opens it.
"""

import errno
import fcntl
import os
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

from icl.runs import RunError, digest

NAME = ".lock"
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)
TAKEN = (errno.EAGAIN, errno.EACCES)
FLOCK = "hhqqi"  # struct flock of Linux: type, whence, start, length, pid


class Locks:
    """The jobs of `keys` below `outputs`, from `with` to its end.

    Raises:
        RunError: another process holds one of them; then none is taken.
    """

    def __init__(self, outputs: Path, keys: Iterable[str]):
        self.outputs, self.keys = outputs, list(keys)

    def __enter__(self) -> "Locks":
        self.outputs.mkdir(parents=True, exist_ok=True)
        self.file = os.open(self.outputs / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        for key in self.keys:
            try:
                fcntl.lockf(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place(key), os.SEEK_SET)
            except OSError as error:
                if error.errno in NO_LOCKS:
                    print(f"{self.outputs} has no file locks: start only one process on it", flush=True)
                    return self
                holder = self._holder(key)
                os.close(self.file)
                if error.errno not in TAKEN:
                    raise
                raise RunError(
                    f"{key} is being trained by {holder}; wait for it or end it, then give the same command again "
                    "(it resumes, or finds the run finished)"
                ) from None
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self.file)

    def _holder(self, key: str) -> str:
        """`process 4711`, as far as the system tells."""
        if not sys.platform.startswith("linux"):
            return "another process"
        asked = struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, place(key), 1, 0)
        pid = struct.unpack(FLOCK, fcntl.fcntl(self.file, fcntl.F_GETLK, asked))[-1]
        return f"process {pid}" if pid > 0 else "a process of another machine"


def place(key: str) -> int:
    """The byte of a job."""
    return int(digest(key), 16)
