"""Composed configurations for the contract tests: every option of every group, read from conf/."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir

from icl.config import Lab, conf_dir
from icl.config.app import register_schema

__all__ = ["Lab", "composed", "options"]


def options(group: str) -> list[str]:
    """The names of a group's files."""
    return sorted(path.stem for path in Path(conf_dir(), group).glob("*.yaml"))


def composed(*overrides: str) -> Any:
    """lab.yaml with overrides, as a command would see it."""
    return _composed(tuple(overrides)).copy()


@lru_cache(maxsize=256)
def _composed(overrides: Sequence[str]) -> Any:
    register_schema()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("lab", overrides=list(overrides))
