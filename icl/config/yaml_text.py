"""A configuration as text, as it is kept in run folders."""

import re
from typing import Any

import yaml

from icl.config.schema import plain

LIKE_A_NUMBER = re.compile(r"[-+.]?[0-9]")

_SafeDumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Dumper(_SafeDumper):
    """Ten times faster than OmegaConf's own, which a sweep of many jobs notices."""


def _quoted_if_like_a_number(dumper: Any, text: str) -> Any:
    """OmegaConf reads more texts as numbers than YAML does (1e-3)."""
    style = "'" if LIKE_A_NUMBER.match(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _quoted_if_like_a_number)


def as_yaml(cfg: Any) -> str:
    """A resolved configuration as OmegaConf reads it back."""
    return yaml.dump(plain(cfg), Dumper=_Dumper, default_flow_style=False, allow_unicode=True, sort_keys=False)
