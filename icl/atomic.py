"""Writing files so that no reader ever sees half of one: to a temporary file beside it, flushed, then renamed."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any


def write_bytes(path: Path, data: bytes) -> None:
    """Atomically: after a crash the file is the old one or the new one, never a part.

    Raises:
        OSError: with the name of `path`; the old file is still there.
    """
    temporary = _temporary(path)
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    _remove_remains(path)


def write_json(path: Path, value: Any) -> None:
    write_bytes(path, (json.dumps(value, indent=1, default=str) + "\n").encode())


def write_link(path: Path, target: str) -> None:
    """A symbolic link to `target`, in place of the one that was there; nothing where the file system has none."""
    temporary = _temporary(path)
    with contextlib.suppress(OSError):
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(target)
        temporary.replace(path)
        _remove_remains(path)


def _stem(path: Path) -> str:
    return f".{path.name}.{os.uname().nodename}."


def _temporary(path: Path) -> Path:
    return path.with_name(f"{_stem(path)}{os.getpid()}.tmp")


def _remove_remains(path: Path) -> None:
    """Temporary files of `path` that processes of this machine left when they were killed."""
    for left in path.parent.glob(f"{_stem(path)}*.tmp"):
        pid = left.name.split(".")[-2]
        try:
            os.kill(int(pid), 0)
        except (ProcessLookupError, ValueError):
            left.unlink(missing_ok=True)
        except OSError:  # it lives, under another user
            continue
