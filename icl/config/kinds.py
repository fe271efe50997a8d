"""Three kinds of component: those that read numbers, text that is trained on, or words before a language model.

The class says so: `reads`, one of "numbers" (where nothing is said), "text" and "words".
"""

from collections.abc import Mapping, Sequence
from typing import Any

from icl.config.build import locate
from icl.config.schema import ConfigError, plain

MOUNTS = ("references", "comparisons", "probes")
NUMBERS, TEXT, WORDS = "numbers", "text", "words"
EXAMPLES = {
    NUMBERS: {"task": "linear_regression", "model": "linear_attention"},
    TEXT: {"task": "multilevel_translation", "model": "surrogate_mlt"},
    WORDS: {"task": "label_words", "model": "smollm2"},
}


def reads_words(cfg: Any) -> bool:
    """Whether a configuration is a study of a language model: nothing of it is trained and kept."""
    return any(reads(key, plain(cfg[key]), plain(cfg.plugins)) == WORDS for key in ("model", "task"))


def reads(key: str, node: Any, plugins: Sequence[str] = ()) -> str:
    """What a node's component reads."""
    if not isinstance(node, Mapping) or "_target_" not in node:
        return NUMBERS
    if not isinstance(node["_target_"], str):
        raise ConfigError(f"{key}._target_={node['_target_']!r} must be the name of a class")
    found = locate(key, node["_target_"], plugins)
    return getattr(getattr(found, "__self__", found), "reads", NUMBERS)


def check_kinds(values: Mapping[str, Any]) -> None:
    """Raises ConfigError if parts that read one kind meet parts that read another."""
    plugins = values.get("plugins") or ()
    kind, other = (reads(key, values[key], plugins) for key in ("task", "model"))
    if kind != other:
        which, rest, such = ("model", "task", other) if kind == NUMBERS else ("task", "model", kind)
        target, reading = values[which]["_target_"], {WORDS: "asks a language model", TEXT: "reads text"}[such]
        raise ConfigError(
            f"{which}: {target} {reading}, and the {rest} does not; take e.g. {rest}={EXAMPLES[such][rest]}"
        )
    if kind == NUMBERS and reads("objective", values["objective"], plugins) == TEXT:
        target = values["objective"]["_target_"]
        raise ConfigError(
            f"objective: {target} is for text, and this task and model read numbers; take e.g. objective=last"
        )
    for mount in MOUNTS:
        for name, node in (values.get(mount) or {}).items():
            found = reads(f"{mount}.{name}", node, plugins)
            if (found == WORDS) != (kind == WORDS):  # the questions to a trained model may fit numbers and text
                target = node.get("_target_", "a run") if isinstance(node, Mapping) else node
                raise ConfigError(f"{mount}.{name}: {target} reads {found}, and this task and model read {kind}")
