"""The folder of a bank in training, `outputs/.banks/<hash of its jobs>/`: its checkpoints, and a record of its jobs.

It is there from the first step to the last `done.json`, whatever kills the process in between.
"""

import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from icl.runs import RunFolder, digest

MEMBERS = "members.json"
RECORDS = f".banks/*/{MEMBERS}"  # below `outputs`


def bank_folder(outputs: Path, keys: Sequence[str]) -> Path:
    """Where the jobs `keys` train together."""
    return outputs / ".banks" / digest(list(keys))


def members_of(record: Path) -> list[str]:
    """The jobs of an interrupted bank; none if the record cannot be read, and then its checkpoint is not used."""
    try:
        return [str(id) for id in json.loads(record.read_text())]
    except (ValueError, TypeError, OSError):
        print(f"{record} is damaged; its bank starts over", flush=True)
        return []


def clear(outputs: Path) -> None:
    """Banks whose members are all done (a kill can come between the last `done.json` and the end of the bank)."""
    for record in outputs.glob(RECORDS):
        ids = members_of(record)
        if ids and all(RunFolder(outputs / id).finished for id in ids):
            remove(record.parent)
    for left in outputs.glob(".gone-*"):
        shutil.rmtree(left, ignore_errors=True)
    with suppress(OSError):
        (outputs / ".banks").rmdir()  # emptied by a `remove` that was killed before its last line


def remove(folder: Path) -> None:
    """A bank's folder, at once: what is left of it after a kill is never taken for a bank."""
    gone = folder.parent.with_name(f".gone-{folder.name}")
    with suppress(OSError):
        shutil.rmtree(gone, ignore_errors=True)
        folder.replace(gone)
        shutil.rmtree(gone, ignore_errors=True)
        folder.parent.rmdir()  # if this was the last
