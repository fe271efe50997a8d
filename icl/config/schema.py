"""The skeleton of every configuration, as dataclasses that Hydra composes into and that check their own values."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import MISSING, OmegaConf

from icl.config.errors import ConfigError, JobFailed, nearest
from icl.config.recipe import Train

__all__ = ["ConfigError", "JobFailed", "Lab", "Paths", "Train", "nearest"]

DTYPES = ("float32", "float64", "bfloat16")


@dataclass
class Paths:
    outputs: str = "outputs"


@dataclass
class ProbeOptions:
    plan: bool = False  # print how a language model's memory would be used and shared, and load nothing


@dataclass
class Lab:
    """One root for every pipeline. Component nodes are checked against the signature of their `_target_`."""

    name: str = "run"
    question: str = ""
    tags: list[str] = field(default_factory=list)
    seed: int = 0
    n_seeds: int = 1
    device: str = "cpu"
    dtype: str = "float32"
    resume: bool = True
    progress: bool = True
    task: Any = MISSING
    model: Any = MISSING
    objective: Any = MISSING
    train: Train = field(default_factory=Train)
    start: Any = None  # where the first weights come from: a run's folder, or what to train differently before
    references: dict[str, Any] = field(default_factory=dict)
    comparisons: dict[str, Any] = field(default_factory=dict)
    probes: dict[str, Any] = field(default_factory=dict)
    max_prompts: int | None = None  # caps every comparison, for a quick look
    claims: dict[str, Any] = field(default_factory=dict)
    tracker: Any = None
    devices: int = 1  # ranks on this machine, for one large model; see conf/accelerate
    accelerate: Any = None
    cluster: Any = None  # what launcher=slurm asks for; see conf/cluster
    probe: ProbeOptions = field(default_factory=ProbeOptions)
    paths: Paths = field(default_factory=Paths)
    run: str | None = None  # compare: the run folder to open
    tag: str | None = None  # reproduce: every experiment with this tag
    plugins: list[str] = field(default_factory=list)  # packages of the user's own, on the command line only


def conf_dir() -> Path:
    """The folder of lab.yaml: `conf/` beside the package in a checkout, `icl/conf` in an installed wheel."""
    package = Path(__file__).resolve().parents[1]
    beside = package.parent / "conf"
    return beside if (beside / "lab.yaml").exists() else package / "conf"


def plain(cfg: Any) -> Any:
    """A config node as resolved dicts, lists and scalars."""
    return OmegaConf.to_container(cfg, resolve=True, enum_to_str=True) if OmegaConf.is_config(cfg) else cfg
