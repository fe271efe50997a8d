"""What a run is: the part of a configuration that decides its numbers, and the hash of it that names its folder."""

from typing import Any

from icl.config.recipe import OFF
from icl.config.schema import plain
from icl.config.start import start_id
from icl.runs import digest

# Fields of `train` that cannot change a number, and therefore are no part of what a run is.
BOOKKEEPING = ("max_seconds", "log_every", "n_snapshots", "snapshot_at", "checkpoint_every")
# How one large model is spread over ranks: a part of what a run is where it is used.
RANKS = {"accelerate": None, "devices": 1}
CUDA = {"matmul": "fp32", "cuda_graph": False}  # the same for fields of `train` that only a GPU has
# Fields of `train` in which the members of one bank may differ.
PER_MEMBER = ("lr", "weight_decay", "clip")


def identity(cfg: Any) -> str:
    """The id of a run: a hash of what is trained, and of nothing else."""
    return digest({"n_seeds": cfg.n_seeds, "seed": cfg.seed} | trained(cfg, BOOKKEEPING))


def trained(cfg: Any, without: tuple[str, ...]) -> dict[str, Any]:
    """What decides the numbers of a training, seeds apart, without some fields of `train`."""
    unused = CUDA | OFF
    used = {k: v for k, v in plain(cfg.train).items() if k not in unused or (v or None) != (unused[k] or None)}
    train = {key: value for key, value in used.items() if key not in without}
    parts = {key: plain(cfg[key]) for key in ("task", "model", "objective", "dtype")}
    parts |= {key: plain(cfg[key]) for key, unused in RANKS.items() if cfg.get(key, unused) != unused}
    if cfg.get("start") is not None:
        parts["start"] = start_id(cfg)
    return parts | {"train": train}
