"""Every check of a configuration, before any work is done and before any folder is made."""

import json
import re
from collections.abc import Mapping
from dataclasses import fields
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from omegaconf import OmegaConf

from icl.config.beside import changed, is_beside
from icl.config.build import build, build_model, check_component, on_this_machine, resolve_device
from icl.config.identity import CUDA
from icl.config.kinds import WORDS, check_kinds, reads
from icl.config.machines import Accelerate, Cluster, read
from icl.config.recipe import check_large, check_members
from icl.config.schema import DTYPES, ConfigError, Lab, Paths, ProbeOptions, Train, nearest, plain
from icl.config.start import start_config
from icl.runs import RunFolder

COMPONENTS = ("task", "model", "objective", "tracker")
NAME = re.compile(r"\w[\w.-]*")
MOUNTS = ("references", "comparisons", "probes")


def validate(cfg: Any) -> None:
    """Raise ConfigError with one line if `cfg` cannot run."""
    _keys("", cfg, Lab)
    _keys("train.", cfg.train, Train)
    _keys("paths.", cfg.paths, Paths)
    _keys("probe.", cfg.probe, ProbeOptions)
    cfg = on_this_machine(cfg)
    _skeleton(cfg)
    values = plain(cfg)
    for prefix, part, schema in (("", values, Lab), ("train.", values["train"], Train)):
        _containers(prefix, part, schema)
    _machines(values)
    train = Train(**values["train"])
    if values["accelerate"] is None and values["devices"] == 1:
        check_members(train, values["n_seeds"])
    else:
        check_large(train)
    plugins = tuple(values["plugins"])
    if plugins and not _typed("plugins"):
        raise ConfigError(f"plugins={list(plugins)} stands in a file; it is taken from the command line only")
    for key in COMPONENTS:
        if key != "model" and values.get(key) is not None:
            _builds(key, json.dumps(values[key]), plugins)
    _model_builds(json.dumps([values["model"], values["device"], values["dtype"], plugins]))
    _start(cfg)
    for mount in MOUNTS:
        for name, node in (values.get(mount) or {}).items():
            if mount == "references" and is_beside(node):
                _trains(f"{mount}.{name}", node, values, plugins)
                continue
            _mounted(f"{mount}.{name}", node, plugins)
    check_kinds(values)


def _trains(key: str, node: Mapping[str, Any], values: Mapping[str, Any], plugins: tuple[str, ...]) -> None:
    """A run that is trained beside, with the parts of `node`."""
    merged = plain(changed(values, node, key))
    try:
        Train(**merged["train"])
    except ConfigError as error:
        raise ConfigError(f"{key}.{error}") from None
    _builds("task", json.dumps(merged["task"]), plugins)
    _model_builds(json.dumps([merged["model"], values["device"], values["dtype"], plugins]))


def _start(cfg: Any) -> None:
    """What the run goes on from: a finished run's folder, or what to train before."""
    start = plain(cfg.start)
    if isinstance(start, Mapping):
        validate(start_config(cfg))
    elif isinstance(start, str):
        if not RunFolder(Path(start)).finished:
            raise ConfigError(f"start={start} is no finished run folder")
    elif start is not None:
        raise ConfigError(f"start={start!r} must be a run's folder, a mapping of what to train before, or null")


def _typed(key: str) -> bool:
    """Whether the user stated `key` on the command line (or composes without one, from Python)."""
    from hydra.core.hydra_config import HydraConfig

    if not HydraConfig.initialized():
        return True
    return any(o.lstrip("+").startswith(f"{key}=") for o in HydraConfig.get().overrides.task)


def _keys(prefix: str, node: Any, schema: type) -> None:
    known = {field.name for field in fields(schema)}
    if not OmegaConf.is_dict(node):
        raise ConfigError(f"{prefix.rstrip('.')}={node!r} must be a mapping")
    for key in node:
        if key not in known:
            raise ConfigError(f"{prefix}{key} is unknown{nearest(str(key), known)}")
    for key in known:
        if key not in node or OmegaConf.is_missing(node, key):
            raise ConfigError(f"{prefix}{key} is missing; state it on the command line: {prefix}{key}=...")


def _containers(prefix: str, values: Mapping[str, Any], schema: type) -> None:
    """Lists and mappings are those; an interpolation may have put anything in their place, which Hydra does not see."""
    for name, kind in _container_fields(schema):
        value = values[name]
        if value is not None and not isinstance(value, kind):
            raise ConfigError(f"{prefix}{name}={value!r} must be a {'list' if kind is list else 'mapping'}")


@cache
def _container_fields(schema: type) -> list[tuple[str, type]]:
    found = []
    for name, hint in get_type_hints(schema).items():
        for option in (hint, *get_args(hint)):
            if get_origin(option) in (list, dict):
                found.append((name, get_origin(option)))
                break
    return found


def _skeleton(cfg: Any) -> None:
    import torch

    if not NAME.fullmatch(cfg.name):
        raise ConfigError(f"name={cfg.name!r} names a folder: letters, digits, '_', '-' and '.', and no '.' first")
    if cfg.n_seeds < 1:
        raise ConfigError(f"n_seeds={cfg.n_seeds} must be >= 1")
    if cfg.seed < 0:
        raise ConfigError(f"seed={cfg.seed} must be >= 0")
    if cfg.dtype not in DTYPES:
        raise ConfigError(f"dtype={cfg.dtype!r} is unknown{nearest(cfg.dtype, DTYPES)}")
    device = resolve_device(cfg.device)
    try:
        kind = torch.device(device).type
    except RuntimeError:
        raise ConfigError(f"device={cfg.device!r} is unknown (known: auto, cpu, cuda, cuda:0, mps)") from None
    if kind == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device={cfg.device}: this machine has no CUDA device (allowed here: auto, cpu)")
    asked = [f"train.{name}={cfg.train[name]}" for name, unused in CUDA.items() if cfg.train[name] != unused]
    if asked and kind != "cuda" and not plain(cfg.cluster):
        raise ConfigError(f"{asked[0]} needs device=cuda (here: device={cfg.device})")
    for key in ("task", "model", "objective"):
        if not isinstance(cfg[key], Mapping) and not OmegaConf.is_config(cfg[key]):
            raise ConfigError(f"{key}={cfg[key]!r} must be one of the options of conf/{key}")


def _machines(values: Mapping[str, Any]) -> None:
    """Ranks and clusters."""
    read(Cluster, "cluster", values["cluster"])
    options, devices = read(Accelerate, "accelerate", values["accelerate"]), values["devices"]
    if devices < 1:
        raise ConfigError(f"devices={devices} must be >= 1")
    ranks = devices * options.nodes
    if options.sharding != "none" and ranks == 1:
        raise ConfigError(f"accelerate.sharding={options.sharding} needs more than one rank; state devices=N")
    trains = reads("model", values["model"], values["plugins"]) != WORDS
    if trains and values["train"]["batch_size"] % (ranks * options.accumulation):
        raise ConfigError(
            f"train.batch_size={values['train']['batch_size']} must be a multiple of ranks x accumulation = "
            f"{ranks * options.accumulation}"
        )
    if options.optimizer is not None:
        target = options.optimizer.get("_target_", "")
        if not str(target).startswith(("torch.optim.", "pytorch_optimizer.")):
            raise ConfigError(f"accelerate.optimizer._target_={target!r} must be of torch.optim or pytorch_optimizer")
        check_component("accelerate.optimizer", options.optimizer, supplied=("params", "lr", "weight_decay"))


def _mounted(key: str, node: Any, plugins: tuple[str, ...]) -> None:
    if not isinstance(node, Mapping):
        raise ConfigError(
            f"{key}={node!r} must be a component with a _target_ (or, for a reference, run: DIR, or parts to change: "
            "model, train, task)"
        )
    if key.startswith("references.") and "run" in node:
        if set(node) != {"run"}:
            raise ConfigError(f"{key}: a reference to a run has the one key 'run'")
        return
    if "_target_" not in node:
        raise ConfigError(f"{key}._target_ is missing")
    _builds(key, json.dumps(node), plugins)


@lru_cache(maxsize=4096)  # the jobs of a sweep share most of their nodes
def _builds(key: str, node: str, plugins: tuple[str, ...]) -> None:
    build(json.loads(node), plugins=plugins, key=key)


@lru_cache(maxsize=4096)
def _model_builds(node: str) -> None:
    model, device, dtype, plugins = json.loads(node)
    build_model(OmegaConf.create({"model": model, "device": device, "dtype": dtype, "plugins": plugins, "n_seeds": 1}))
