"""A reference that is a run: one that exists, `{run: DIR}`, or one that is trained beside with some parts changed.

    references.softmax: {model: {kernel: softmax}, train: {lr: 0.3}}

A part with a `_target_` replaces the run's own, another is merged into it. Everything else, the prompts too where the
task stays, is that of the run. A changed task reaches no other part: sizes that the model takes from it must agree.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from icl.config.schema import ConfigError, nearest, plain

PARTS = ("model", "train", "task")
MERGED = (*PARTS, "objective")  # the others of a `start` are replaced


def is_run(node: Any) -> bool:
    """Whether a reference is a run, and so has an inside that a probe can look at."""
    return isinstance(node, Mapping) and ("run" in node or is_beside(node))


def is_beside(node: Any) -> bool:
    return isinstance(node, Mapping) and "_target_" not in node and any(part in node for part in PARTS)


def changed(cfg: Any, node: Mapping[str, Any], key: str, parts: Sequence[str] = PARTS) -> Any:
    """The configuration of a run with the parts of `node`.

    Raises:
        ConfigError: `node` has another key, or a field that the part does not have.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    new: Any = OmegaConf.create(plain(cfg))  # no schema: its fields are checked by those who build from it
    for part, value in plain(node).items():
        if part not in parts:
            raise ConfigError(f"{key}.{part} is unknown{nearest(part, parts)}")
        if part not in MERGED:
            new[part] = value
            continue
        if not isinstance(value, Mapping):
            raise ConfigError(f"{key}.{part}={value!r} must map fields to values")
        unknown = set(value) - set(new[part])
        if "_target_" not in value and unknown:
            name = min(unknown)
            raise ConfigError(f"{key}.{part}.{name} is unknown{nearest(name, map(str, new[part]))}")
        try:
            new[part] = value if "_target_" in value else OmegaConf.merge(new[part], value)
        except OmegaConfBaseException as error:
            raise ConfigError(f"{key}.{part}: {str(error).splitlines()[0]}") from None
    return new
