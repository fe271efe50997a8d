"""The state of a bank on disk: one safetensors file with its own checksum, written atomically, and the one before it.

A checkpoint belongs to the bank, not to a member: an interrupted bank is formed again with exactly its members, and
then goes on with the same bits.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from icl.atomic import write_bytes
from icl.runs import RunError

FORMAT = "2"
NAME, PREVIOUS, REFUSED = "checkpoint.safetensors", "checkpoint.previous.safetensors", "checkpoint.refused.safetensors"


def checksum(tensors: Mapping[str, Tensor], about: str) -> str:
    """Of the facts, and of every name, shape and byte; a flipped bit changes it."""
    total = hashlib.sha256(about.encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        total.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        total.update(tensor.reshape(-1).view(_bytes()).numpy().tobytes())
    return total.hexdigest()


def _bytes() -> Any:
    import torch

    return torch.uint8


def save_checkpoint(folder: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Keep `tensors` and the plain facts `about` them; the last good checkpoint stays as the previous one."""
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    facts = json.dumps(dict(about))
    metadata = {"format": FORMAT, "checksum": checksum(on_cpu, facts), "about": facts}
    path = folder / NAME
    if path.exists():
        path.replace(folder / PREVIOUS)
    write_bytes(path, save(on_cpu, metadata))


def load_checkpoint(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The newest good checkpoint of a bank, or None if it has none yet. A bad one is set aside as REFUSED.

    Raises:
        RunError: there are checkpoints, and none of them can be read.
    """
    problems = []
    for name in (NAME, PREVIOUS):
        path = folder / name
        if not path.exists():
            continue
        try:
            found = _read(path)
        except RunError as error:
            problems.append(str(error))
            continue
        if problems:
            print(f"{problems[0]}; going on from {path.name}, step {found[1]['step']}", flush=True)
            (folder / NAME).replace(folder / REFUSED)
            path.replace(folder / NAME)  # the next one to be saved must not push out the only good one
        return found
    if problems:
        raise RunError(f"{'; '.join(problems)}; start over with resume=false")
    return None


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError, ValueError) as error:
        raise RunError(f"{path} is truncated or foreign: {error}") from None
    if metadata.get("format") != FORMAT:
        raise RunError(f"{path} has format {metadata.get('format')}, this version reads {FORMAT}")
    if metadata.get("checksum") != checksum(tensors, metadata.get("about", "")):
        raise RunError(f"{path} is damaged: its checksum does not fit")
    return tensors, json.loads(metadata["about"])
