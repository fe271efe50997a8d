"""From a config node to an object: what `_target_` may name, and how it is called."""

import importlib
import inspect
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from icl.config.schema import ConfigError, nearest, plain

ROOMS = ("tasks", "models", "algorithms", "objectives", "comparisons", "probes", "tracking", "constructions", "theory")
# Never a whole library: torch.hub.load or torch.load would run code that the config's author chose.
ALLOWED = (*(f"icl.{room}." for room in ROOMS), "torch.optim.", "torch.nn.", "pytorch_optimizer.")
SKELETON = {"_target_", "_convert_", "_recursive_"}
SIMPLE = (int, float, bool, str, type(None))


def check_target(key: str, target: Any, plugins: Sequence[str] = ()) -> None:
    """Refuse a `_target_` outside the component rooms and the user's own `plugins`."""
    allowed = allowed_for(plugins)
    if not isinstance(target, str) or not target.startswith(allowed) or "__" in target:
        raise ConfigError(
            f"{key}._target_={target!r} is not allowed (allowed: {', '.join(allowed)}; "
            "your own package: plugins=[name])"
        )


def allowed_for(plugins: Sequence[str]) -> tuple[str, ...]:
    """What names may begin with."""
    return (*ALLOWED, *(f"{plugin}." for plugin in plugins))


def locate(key: str, target: str, plugins: Sequence[str] = ()) -> Any:
    """The class or function that `target` names; it must be defined where it may be named.

    A module shows what it imports, too: icl.tracking.wandb.os.system is no function of icl.tracking.
    """
    parts = target.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        module_name = ".".join(parts[:cut])
        try:
            found = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name is not None and not module_name.startswith(error.name):
                raise ConfigError(f"{key}._target_={target}: module {error.name!r} is not installed") from None
            continue
        for part in parts[cut:]:
            if not hasattr(found, part):
                known = [name for name, value in vars(found).items() if inspect.isclass(value)]
                raise ConfigError(f"{key}._target_={target}: there is no {part!r}{nearest(part, known)}")
            found = getattr(found, part)
            home = found.__name__ if inspect.ismodule(found) else getattr(found, "__module__", None)
            if not f"{home}.".startswith(allowed_for(plugins)):
                raise ConfigError(f"{key}._target_={target} is not allowed: {part!r} is of {home}")
        return found
    raise ConfigError(f"{key}._target_={target}: there is no such module")


def check_component(key: str, node: Any, plugins: Sequence[str] = (), supplied: Sequence[str] = ()) -> None:
    """Keys, required keys and simple types of a node (and of nodes inside it) against the signature of its target."""
    if isinstance(node, list | tuple):
        for i, value in enumerate(node):
            check_component(f"{key}[{i}]", value, plugins)
    if not isinstance(node, Mapping):
        return
    for name, value in node.items():
        check_component(f"{key}.{name}", value, plugins)
    if "_target_" not in node:
        return
    check_target(key, node["_target_"], plugins)
    target = locate(key, node["_target_"], plugins)
    if not callable(target):
        raise ConfigError(f"{key}._target_={node['_target_']!r} is no class or function")
    parameters = inspect.signature(target).parameters
    hints = _hints(target)
    given = {name for name, value in node.items() if value != "???"} - SKELETON
    known = set(parameters) - set(supplied)
    takes_all = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    for name in supplied:
        if name not in parameters and not takes_all:
            raise ConfigError(f"{key}: {node['_target_']} takes no {name}, which every {key} is given")
    for name in given:
        if name not in known:
            raise ConfigError(f"{key}.{name} is unknown to {node['_target_']}{nearest(name, known)}")
        if name in hints:
            _check_type(f"{key}.{name}", node[name], hints[name])
    for name, parameter in parameters.items():
        if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            continue
        if parameter.default is inspect.Parameter.empty and name not in given and name not in supplied:
            raise ConfigError(f"{key}.{name} is missing; {node['_target_']} needs it")


def _hints(target: Any) -> dict[str, Any]:
    function = target.__init__ if inspect.isclass(target) else getattr(target, "__func__", target)
    return dict(getattr(function, "__annotations__", {}))


def _check_type(key: str, value: Any, hint: Any) -> None:
    """Only what YAML can get wrong: numbers, strings, choices. Anything else is left to the class itself."""
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    choices = [c for o in options if typing.get_origin(o) is typing.Literal for c in typing.get_args(o)]
    simple = [o for o in options if o in SIMPLE]
    if len(simple) + sum(typing.get_origin(o) is typing.Literal for o in options) < len(options):
        return
    if value in choices or any(_is(value, option) for option in simple):
        return
    if choices and isinstance(value, str):
        raise ConfigError(f"{key}={value!r} is unknown{nearest(value, map(str, choices))}")
    allowed = " or ".join([*map(repr, choices), *("null" if o is type(None) else o.__name__ for o in simple)])
    raise ConfigError(f"{key}={value!r} must be {allowed}")


def _is(value: Any, kind: type) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is kind


def build(node: Any, *, plugins: Sequence[str] = (), key: str = "config", **supplied: Any) -> Any:
    """The object that a component node describes; `supplied` are arguments that no YAML states.

    Raises:
        ConfigError: the target is not allowed, or refuses its arguments.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    node = plain(node)
    if not isinstance(node, Mapping) or "_target_" not in node:
        raise ConfigError(f"{key}._target_ is missing; {key} must be a component (the files of conf/ are)")
    check_component(key, node, plugins, tuple(supplied))
    try:
        return instantiate(node, _convert_="all", **supplied)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, InstantiationException):
            cause = cause.__cause__ or cause
        raise ConfigError(f"{key}: {str(cause or error).splitlines()[0]}") from cause


def torch_dtype(name: str) -> Any:
    import torch

    return getattr(torch, name)


def build_model(cfg: Any, n_seeds: int | None = None, plugins: Sequence[str] | None = None) -> Any:
    """The model of a configuration as a bank of `n_seeds` members (default: the job's), on its device."""
    members = cfg.n_seeds if n_seeds is None else n_seeds
    own: Sequence[str] = cfg.plugins if plugins is None else plugins
    return build(
        cfg.model, plugins=own, key="model", n_seeds=members, device=resolve_device(cfg.device),
        dtype=torch_dtype(cfg.dtype),
    )  # fmt: skip


def resolve_device(name: str) -> str:
    """`auto` is the accelerator if there is one."""
    import torch

    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"


def on_this_machine(cfg: Any) -> Any:
    """`cfg` as this machine can check it: a job that asks a cluster for GPUs is looked at on the CPU."""
    from omegaconf import OmegaConf

    cluster = plain(cfg.get("cluster"))
    return OmegaConf.merge(cfg, {"device": "cpu"}) if cluster and cluster.get("gpus") else cfg
