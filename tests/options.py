"""Composed configurations for the contract tests: every option of every group, read from conf/."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir

from icl.config import Lab, conf_dir
from icl.config.app import register_schema
from icl.config.kinds import NUMBERS, WORDS, reads

__all__ = ["Lab", "composed", "numeric", "options", "target", "text"]


_TRANSLATION = ("task=multilevel_translation", "model=surrogate_mlt", "objective=answer")
_GRAPH = ("task=causal_graph", "model=disentangled_transformer", "objective=cross_entropy")
_CLASSES = ("model=linear_softmax", "objective=cross_entropy")
_TEXT = ("task=multilevel_translation", "objective=answer_tokens", "accelerate=multi_cpu")
_TINY = (*_TEXT, "model=finetuned_lm_tiny")
FITTING = dict.fromkeys(("multilevel_translation", "surrogate_mlt", "llama_translator"), _TRANSLATION) | {
    "finetuned_lm_tiny": _TINY, "answer_tokens": _TINY, "answer": _TRANSLATION,
    "finetuned_lm": (*_TEXT, "model.pretrained=tiny"), "causal_graph": _GRAPH,
    "disentangled_transformer": _GRAPH, "graph_posterior": _GRAPH,
    "two_patch": ("task=two_patch", "model=patch_attention", "objective=logistic"),
    "token_separation": ("task=token_separation", "model=single_query_attention", "objective=logistic"),
    "random_sequences": ("task=random_sequences", "model=kernel_attention"),
    "zipf_classes": ("task=zipf_classes", *_CLASSES), "zipf_bigrams": ("task=zipf_bigrams", *_CLASSES),
}  # fmt: skip


TINY = ("task=label_words_tiny", "model=causal_lm_tiny")  # what reads text needs around it


def fitting(group: str, option: str) -> Any:
    """An option in a configuration whose other parts fit it; `group` may be where it is mounted."""
    around = TINY if option in text(group.lstrip("+").partition("@")[0]) else FITTING.get(option, ())
    others = [part for part in around if not part.startswith(f"{group}=")]
    return composed(*others, f"{group}={option}")


def options(group: str) -> list[str]:
    """The names of a group's files."""
    return sorted(path.stem for path in Path(conf_dir(), group).glob("*.yaml"))


def text(group: str) -> list[str]:
    """Those of a group that ask a language model: `reads` of their class says so."""
    return [option for option in options(group) if _reads(group, option) == WORDS]


def numeric(group: str) -> list[str]:
    """Those of a group that read numbers, neither text nor words."""
    return [option for option in options(group) if _reads(group, option) == NUMBERS]


@lru_cache(maxsize=512)
def _reads(group: str, option: str) -> str:
    return reads(group, {"_target_": target(group, option)})


def target(group: str, option: str) -> str:
    """The `_target_` of a file, or of the one that it builds on; composing every option would take a minute."""
    node = yaml.safe_load(Path(conf_dir(), group, f"{option}.yaml").read_text())
    if "_target_" in node:
        return node["_target_"]
    parents = [name for name in node["defaults"] if isinstance(name, str) and name != "_self_"]
    return target(group, parents[0])


def composed(*overrides: str) -> Any:
    """lab.yaml with overrides, as a command would see it."""
    return _composed(tuple(overrides)).copy()


@lru_cache(maxsize=256)
def _composed(overrides: Sequence[str]) -> Any:
    register_schema()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("lab", overrides=list(overrides))
