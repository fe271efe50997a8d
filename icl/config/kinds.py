"""Two kinds of component: those that are trained and read numbers or tokens, and those that ask a language model.

The class of the latter says so: `reads_words`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from icl.config.build import locate
from icl.config.schema import ConfigError, plain

MOUNTS = ("references", "comparisons", "probes")


def reads_words(cfg: Any) -> bool:
    """Whether a configuration is a study of a language model: nothing of it is trained and kept."""
    return any(node_reads_words(key, plain(cfg[key]), plain(cfg.plugins)) for key in ("model", "task"))


def node_reads_words(key: str, node: Any, plugins: Sequence[str] = ()) -> bool:
    if not isinstance(node, Mapping) or "_target_" not in node:
        return False
    found = locate(key, node["_target_"], plugins)
    return bool(getattr(getattr(found, "__self__", found), "reads_words", False))


def check_kinds(values: Mapping[str, Any]) -> None:
    """Raises ConfigError if parts that read text meet parts that read numbers."""
    plugins = values.get("plugins") or ()
    text = {key: node_reads_words(key, values[key], plugins) for key in ("task", "model")}
    if text["task"] != text["model"]:
        which, other, such = ("task", "model", "smollm2") if text["task"] else ("model", "task", "label_words")
        target = values[which]["_target_"]
        raise ConfigError(
            f"{which}: {target} asks a language model, and the {other} does not; take e.g. {other}={such}"
        )
    kind, others = ("words", "numbers") if text["task"] else ("numbers", "words")
    for mount in MOUNTS:
        for name, node in (values.get(mount) or {}).items():
            if node_reads_words(f"{mount}.{name}", node, plugins) != text["task"]:
                target = node.get("_target_", "a run") if isinstance(node, Mapping) else node
                raise ConfigError(f"{mount}.{name}: {target} reads {others}, and this task and model read {kind}")
