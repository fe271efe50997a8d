"""The configurations of a sweep, composed by Hydra once for each choice of options.

Hydra composes a configuration from its files, then sets the values of the command line one after the other. Jobs that
differ in plain values only (`seed=3`, `train.lr=1e-3`) share the first and slow part, about 100 ms a job.
"""

import copy
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

PLAIN = (bool, int, float, str, type(None))


class Composer:
    """Equal to `ConfigLoader.load_sweep_config`, job by job, and several times faster over a sweep."""

    def __init__(self, loader: Any, master: Any):
        self.loader, self.master = loader, master
        self.groups = set(loader.list_groups(""))
        self.first: dict[tuple[str, ...], tuple[Any, Any]] = {}  # of each shape

    def __call__(self, overrides: Sequence[str]) -> Any:
        """The unresolved configuration of one job, without its node `hydra`.

        Raises:
            HydraException: Hydra cannot compose it.
        """
        parsed = [parse(text) for text in overrides]
        config = copy.deepcopy(self._first(parsed)[0])
        if self._in_order(parsed):
            return config
        try:
            for override in filter(self.is_value, parsed):
                OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
        except OmegaConfBaseException:
            return self.by_hydra(overrides)[0]  # which says in its own words what is wrong
        return config

    def hydra(self, overrides: Sequence[str]) -> Any:
        """`{"hydra": ...}` of one job, until the next call: jobs of one shape share the object."""
        parsed = [parse(text) for text in overrides]
        config = self._first(parsed)[1]
        with read_write(config.hydra):
            config.hydra.overrides.task = [o.input_line for o in parsed if not o.is_hydra_override()]
            config.hydra.job.override_dirname = dirname(parsed, config.hydra.job.config.override_dirname)
        return config

    def _first(self, parsed: Sequence[Override]) -> tuple[Any, Any]:
        """Of the first job with the same options and the same keys (and the same values, where their order matters)."""
        texts = [str(o.input_line) for o in parsed]
        by_key = not self._in_order(parsed)
        shape = tuple(o.key_or_group if by_key and self.is_value(o) else text for o, text in zip(parsed, texts))
        if shape not in self.first:
            self.first[shape] = self.by_hydra(texts)
        return self.first[shape]

    def _in_order(self, parsed: Sequence[Override]) -> bool:
        """Whether the order of the values matters, which Hydra minds."""
        return nested([o.key_or_group for o in parsed if not self.chooses(o)])

    def by_hydra(self, overrides: Sequence[str]) -> tuple[Any, Any]:
        """Hydra's own composition, in these two parts."""
        config = self.loader.load_sweep_config(self.master, list(overrides))
        with read_write(config), open_dict(config):
            return config, OmegaConf.create({"hydra": config.pop("hydra")})

    def chooses(self, override: Override) -> bool:
        """Whether it chooses files; Hydra reads these first, wherever they stand among the values."""
        key = override.key_or_group
        group = key in self.groups or "/" in key or override.package is not None
        return group and not isinstance(override.value(), dict)

    def is_value(self, override: Override) -> bool:
        """Whether it sets one plain value of a key that exists."""
        value = override.value()
        plain = isinstance(value, PLAIN) and not (isinstance(value, str) and "${" in value)
        own = not (self.chooses(override) or override.is_hydra_override())
        return plain and own and override.type == OverrideType.CHANGE


def dirname(parsed: Sequence[Override], how: Any) -> str:
    """`hydra.job.override_dirname`."""
    kept = [o for o in parsed if not o.is_hydra_override() and o.key_or_group not in how.exclude_keys]
    return how.item_sep.join(sorted(str(o.input_line) for o in kept)).replace("=", how.kv_sep)


@lru_cache(maxsize=65536)
def parse(text: str) -> Override:
    return OverridesParser.create().parse_override(text)


def nested(keys: Sequence[str]) -> bool:
    """Whether one key lies inside another or comes twice."""
    return len(set(keys)) < len(keys) or any(b.startswith(f"{a}.") for a in keys for b in keys)
