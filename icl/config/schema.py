"""The skeleton of every configuration, as dataclasses that Hydra composes into and that check their own values."""

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import MISSING, OmegaConf

OPTIMIZERS = ("adam", "adamw", "sgd")
# One norm or one estimate over a whole parameter tensor: inside a bank it would mix the members.
MIXING_OPTIMIZERS = (
    "adafactor", "dadaptation", "fadam", "lamb", "lars", "mars", "muon", "novograd", "prodigy", "sgdsai", "shampoo",
    "soap", "sophia", "stableadamw",
)  # fmt: skip
SCHEDULES = ("constant", "linear", "cosine")
LEAST = {"steps": 0, "batch_size": 1, "warmup": 0, "log_every": 1, "checkpoint_every": 1, "n_snapshots": 0,
         "eps": 0, "weight_decay": 0, "lr": 0, "data_seed": 0}  # fmt: skip
DTYPES = ("float32", "float64", "bfloat16")
STREAMS = ("own", "shared")
MATMULS = ("fp32", "tf32")


class ConfigError(ValueError):
    """A configuration that cannot run: one line that says what, where and what is allowed."""


class JobFailed(RuntimeError):
    """A job or a claim failed, and what there is to say was printed: exit code 1."""


def nearest(name: str, known: Iterable[str]) -> str:
    """`; nearest known: 'x'; known: a, b, c` for an error line."""
    known = sorted(known)
    if not known:
        return ""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"{hint} (known: {', '.join(known)})"


@dataclass
class Train:
    """How a bank is trained. `lr`, `weight_decay` and `clip` belong to a member, the rest to the bank.

    The learning rate after k of `steps` steps is  lr · min(1, (k+1)/warmup) · g((k/steps − hold)/(1 − hold)),
    with g = 1 before `hold`, then falling from 1 to 0 linearly or as a half cosine (`constant`: g = 1).
    """

    steps: int = 3000
    batch_size: int = 512
    optimizer: str = "adam"
    lr: float = 1e-3
    betas: list[float] = field(default_factory=lambda: [0.9, 0.98])
    eps: float = 1e-8
    momentum: float = 0.0
    weight_decay: float = 0.0
    clip: float | None = None  # largest gradient norm of one member
    schedule: str = "constant"
    hold: float = 0.0
    warmup: int = 0
    stream: str = "own"
    data_seed: int = 0  # keys the shared stream
    n_batches: int | None = None  # the prompts of the first n_batches steps again and again; 1 is full-batch training
    curriculum: Any = None  # {"task.n_context": {0: 5, 1000: 10}}
    fast_matmul: bool = False  # CPU: the faster fp32 GEMM, where its error check passes
    matmul: str = "fp32"  # CUDA: or tf32, which keeps 10 bits of mantissa
    cuda_graph: bool = False  # CUDA: the whole step in one launch
    max_seconds: float | None = None
    log_every: int = 10
    n_snapshots: int = 20  # about as many, at log-spaced steps
    snapshot_at: list[int] | None = None  # and at these steps
    checkpoint_every: int = 500

    def __post_init__(self) -> None:
        self._choices()
        for name, low in LEAST.items():
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= low):
                raise ConfigError(f"train.{name}={value} must be a finite number >= {low}")
        if self.n_batches is not None and self.n_batches < 1:
            raise ConfigError(f"train.n_batches={self.n_batches} must be >= 1, or null (fresh prompts at every step)")
        if not all(_is_step(step) for step in self.snapshot_at or []):
            raise ConfigError(f"train.snapshot_at={self.snapshot_at} must be steps, e.g. [0, 100, 200], or null")
        for name in ("clip", "max_seconds"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ConfigError(f"train.{name}={value} must be a finite number > 0, or null")
        if not (0 <= self.hold < 1):
            raise ConfigError(f"train.hold={self.hold} must be in [0, 1)")
        if not (0 <= self.momentum < 1):
            raise ConfigError(f"train.momentum={self.momentum} must be in [0, 1)")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"train.betas={list(self.betas)} must be two numbers in [0, 1)")
        if self.curriculum is None:
            self.curriculum = {}
        if not isinstance(self.curriculum, Mapping):
            raise ConfigError(f"train.curriculum={self.curriculum} must map names of fields to stages, or be null")
        for key, stages in self.curriculum.items():
            if not isinstance(stages, Mapping) or not stages or not all(_is_step(step) for step in stages):
                raise ConfigError(f"train.curriculum.{key}={stages} must map steps to values, e.g. {{0: 5, 1000: 10}}")

    def data_step(self, step: int) -> int:
        """The step whose prompts are seen at `step`."""
        return step if self.n_batches is None else step % self.n_batches

    def _choices(self) -> None:
        if self.optimizer in MIXING_OPTIMIZERS:
            raise ConfigError(
                f"train.optimizer={self.optimizer} takes one norm over a tensor and would mix the members of a bank; "
                f"allowed: {', '.join(OPTIMIZERS)}"
            )
        choices = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES, "stream": STREAMS, "matmul": MATMULS}
        for name, known in choices.items():
            value = getattr(self, name)
            if value not in known:
                raise ConfigError(f"train.{name}={value!r} is unknown{nearest(str(value), known)}")


def _is_step(step: Any) -> bool:
    return isinstance(step, int) and not isinstance(step, bool) and step >= 0


@dataclass
class Paths:
    outputs: str = "outputs"


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
    references: dict[str, Any] = field(default_factory=dict)
    comparisons: dict[str, Any] = field(default_factory=dict)
    probes: dict[str, Any] = field(default_factory=dict)
    max_prompts: int | None = None  # caps every comparison, for a quick look
    claims: dict[str, Any] = field(default_factory=dict)
    tracker: Any = None
    devices: int = 1  # ranks on this machine, for one large model; see conf/accelerate
    accelerate: Any = None
    cluster: Any = None  # what launcher=slurm asks for; see conf/cluster
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
