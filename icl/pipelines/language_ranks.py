"""Who answers the parts of a study: this process, or `devices` ranks of it.

Without sharding every rank has the whole model and takes every W-th seed. With accelerate.sharding=fsdp2 the layers are
cut over the ranks, all of which ask everything together, and rank 0 writes; for models that one device does not hold.
The arithmetic is of `dtype` in either case; accelerate.mixed_precision is for training.
"""

import resource
import time
from collections.abc import Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from icl.config import ConfigError, JobFailed, build_model
from icl.config.build import resolve_device
from icl.config.machines import Accelerate, read
from icl.config.schema import plain
from icl.config.yaml_text import as_yaml
from icl.models.causal_lm_shards import shard_layers
from icl.pipelines.language_questions import Part, ask, members, parts, seeds_of, still_open
from icl.runs import RunFolder
from icl.training.elastic import RanksFailed, over_ranks
from icl.training.sharded import accelerator_for


def answer(cfg: Any, folder: RunFolder, typed: Sequence[str]) -> tuple[float, float]:
    """Every part that is open; CPU seconds and the peak of memory (GiB) of other processes than this one.

    Raises:
        ConfigError: the model or the data are not there, or do not fit each other; before anything is measured.
        JobFailed: a rank died.
    """
    options = read(Accelerate, "accelerate", plain(cfg.accelerate))
    if cfg.devices * options.nodes == 1:
        open_ones = still_open(parts(cfg, folder.path), resume=cfg.resume)
        _measure(cfg, folder, typed, build_model(cfg), open_ones, seeds_of(cfg), writes=True)
        return 0.0, 0.0
    if cfg.model.get("placement") is not None:
        raise ConfigError(
            f"model.placement={cfg.model.placement} and devices={cfg.devices} are two ways to spread a model"
        )
    where = {"devices": cfg.devices, "nodes": options.nodes, "device": resolve_device(cfg.device)}
    try:
        said = over_ranks(rank, as_yaml(cfg), str(folder.path), list(typed), **where)
    except RanksFailed as failure:
        raise JobFailed(f"{failure}; the same command goes on") from None
    if isinstance(said, str):
        raise ConfigError(said)
    return said


def rank(config: str, path: str, typed: Sequence[str]) -> tuple[float, float] | str:
    """What one rank does; the line of a ConfigError, which all ranks find alike, is returned."""
    from torch import distributed

    cfg, folder = OmegaConf.create(config), RunFolder(Path(path))
    options = read(Accelerate, "accelerate", plain(cfg.accelerate))
    accelerator = accelerator_for(torch.device(resolve_device(cfg.device)), options)
    number, ranks, sharded = accelerator.process_index, accelerator.num_processes, options.sharding != "none"
    every, model = parts(cfg, folder.path), build_model(cfg)
    if sharded:
        model.spread = partial(shard_layers, device=accelerator.device, offload=options.cpu_offload)
    found = [[part in still_open(every, resume=cfg.resume) for part in every]]
    distributed.broadcast_object_list(found)  # rank 0 decides, for others may look while it writes
    open_ones = [part for part, is_open in zip(every, found[0], strict=True) if is_open]
    own = seeds_of(cfg) if sharded else seeds_of(cfg)[number::ranks]
    try:
        _measure(cfg, folder, typed, model, open_ones, own, first=number == 0, writes=not sharded or number == 0)
    except ConfigError as error:
        return str(error)
    spent: list[Any] = [None] * ranks
    distributed.all_gather_object(spent, (time.process_time(), peak_gib()))
    return sum(cpu for cpu, _ in spent), max(peak for _, peak in spent)


def _measure(
    cfg: Any, folder: RunFolder, typed: Sequence[str], model: Any, open_ones: Sequence[Part], own: Sequence[int], *,
    writes: bool, first: bool = True,
) -> None:  # fmt: skip
    """The open parts of the seeds in `own`. Whatever is wrong shows on every rank, before the folder is made."""
    seeds, by_seed = seeds_of(cfg), {s: list(group) for s, group in groupby(open_ones, key=lambda part: part.seed)}
    asked = members(cfg, model, list(by_seed))  # nothing open: nothing is loaded
    if first:
        over = f" over {cfg.devices} ranks" if cfg.devices > 1 else ""
        print(f"{cfg.name}: asking {cfg.model.name}{over}, seeds {seeds[0]}..{seeds[-1]}, in {folder.path}", flush=True)
        try:
            folder.open(as_yaml(cfg), typed)
        except OSError as error:
            raise ConfigError(f"paths.outputs={cfg.paths.outputs}: cannot write there ({error.strerror})") from None
    while asked:
        member = asked.pop(0)  # and its readings are gone with it
        for part in by_seed[member.seed] if member.seed in own else ():
            ask(member, part, writes=writes, shown=cfg.progress)


def peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
