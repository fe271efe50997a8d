"""Where a job runs: what it asks of a cluster, and how one large model uses several ranks.

A `cluster` is never a part of what a run is; `accelerate` and `devices` are, for they change the numbers.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from icl.config.schema import ConfigError, nearest

EXECUTORS = ("slurm", "local")
PRECISIONS = ("no", "bf16")
SHARDINGS = ("none", "fsdp2")
T = TypeVar("T", "Cluster", "Accelerate")
WORD = re.compile(r"[\w.,:@%/=+-]*")  # every value becomes one line of a shell script


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What one job asks for. `executor: local` runs submitit's jobs as processes of this machine."""

    executor: str = "slurm"
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    minutes: int = 240
    nodes: int = 1
    gpus: int = 0  # a node
    cpus: int = 2  # a task
    memory_gb: int = 8
    at_once: int = 64  # tasks of the job array that run together
    timeouts: int = 100  # how often a job that ran out of its minutes is queued again; preemption does not count
    warning_seconds: int = 120  # between the signal and the end
    sbatch: dict[str, Any] = field(default_factory=dict)  # other lines of the script: {"exclude": "node7"}

    def __post_init__(self) -> None:
        if self.executor not in EXECUTORS:
            raise ConfigError(f"cluster.executor={self.executor!r} is unknown{nearest(str(self.executor), EXECUTORS)}")
        least = {"minutes": 1, "nodes": 1, "gpus": 0, "cpus": 1, "memory_gb": 1, "at_once": 1, "timeouts": 0,
                 "warning_seconds": 1}  # fmt: skip
        for name, low in least.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < low:
                raise ConfigError(f"cluster.{name}={value!r} must be an integer >= {low}")
        words = {name: getattr(self, name) for name in ("partition", "account", "qos", "constraint")}
        for name, value in (words | {f"sbatch.{k}": v for k, v in dict(self.sbatch).items()}).items():
            if value is not None and not (WORD.fullmatch(str(value)) and WORD.fullmatch(name)):
                raise ConfigError(f"cluster.{name}={value!r} must be one word of letters, digits and .,:@%/=+-")


@dataclass(frozen=True, kw_only=True)
class Accelerate:
    """How one large model is trained: an update's `train.batch_size` prompts over ranks, in `accumulation` parts."""

    mixed_precision: str = "no"
    accumulation: int = 1
    sharding: str = "none"
    cpu_offload: bool = False
    wrap: str | None = None  # the class whose instances FSDP shards one by one, such as Block
    nodes: int = 1
    optimizer: dict[str, Any] | None = None  # {"_target_": "pytorch_optimizer.Lion", ...} in place of train.optimizer

    def __post_init__(self) -> None:
        for name, known in (("mixed_precision", PRECISIONS), ("sharding", SHARDINGS)):
            value = getattr(self, name)
            if value not in known:
                raise ConfigError(f"accelerate.{name}={value!r} is unknown{nearest(str(value), known)}")
        for name in ("accumulation", "nodes"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ConfigError(f"accelerate.{name}={value!r} must be an integer >= 1")
        if self.cpu_offload and self.sharding == "none":
            raise ConfigError("accelerate.cpu_offload=true needs accelerate.sharding=fsdp2")


def read(kind: type[T], key: str, node: Any) -> T:
    """The checked options of a node; null is all defaults.

    Raises:
        ConfigError: an unknown key or a value that is not allowed.
    """
    if not isinstance(node, Mapping | type(None)):
        raise ConfigError(f"{key}={node!r} must be one of the options of conf/{key}")
    known = [f.name for f in fields(kind)]
    for name in node or {}:
        if name not in known:
            raise ConfigError(f"{key}.{name} is unknown{nearest(str(name), known)}")
    return kind(**(node or {}))
