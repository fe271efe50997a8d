"""How a bank is trained: the fields of `train`, what each may be, and which optimisers a bank must refuse."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from icl.config.errors import ConfigError, nearest

OPTIMIZERS = ("adam", "adamw", "sgd", "normalized", "sign")
# Of pytorch_optimizer (extra `optim`). Coordinate by coordinate: a bank member is a lone run, bit for bit.
ELEMENTWISE_OPTIMIZERS = ("adabelief", "adan", "ademamix", "adopt", "grams", "laprop", "lion", "tiger")
# One norm or one estimate over a whole parameter tensor: inside a bank it would mix the members.
LONE_OPTIMIZERS = (
    "adafactor", "came", "fadam", "lamb", "lars", "mars", "novograd", "prodigy", "shampoo", "soap", "stableadamw",
)  # fmt: skip
MIXING_OPTIMIZERS = (*LONE_OPTIMIZERS, "dadaptation", "muon", "sgdsai", "sophia")  # the last ones: not offered here
LIBRARY_OPTIMIZERS = (*ELEMENTWISE_OPTIMIZERS, *LONE_OPTIMIZERS)
SCHEDULES = ("constant", "linear", "cosine", "restarts")
STREAMS = ("own", "shared")
MATMULS = ("fp32", "tf32")
LEAST = {"steps": 0, "batch_size": 1, "warmup": 0, "log_every": 1, "checkpoint_every": 1, "n_snapshots": 0,
         "eps": 0, "weight_decay": 0, "lr": 0, "data_seed": 0, "gradient_noise": 0, "restart_growth": 1}  # fmt: skip
# Fields that joined later: a part of what a run is where they are used, so that older runs keep their folder.
OFF = {"clip_share": 0.0, "adaptive_clip": None, "gradient_noise": 0.0, "n_batches": None, "optimizer_options": {},
       "restart_every": None, "restart_growth": 1.0, "ramp": None}  # fmt: skip


@dataclass
class Train:
    """How a bank is trained. `lr`, `weight_decay` and `clip` belong to a member, the rest to the bank.

    The learning rate after k of `steps` steps is  lr · min(1, (k+1)/warmup) · g((k/steps − hold)/(1 − hold)),
    with g = 1 before `hold`, then falling from 1 to 0 linearly or as a half cosine (`constant`: g = 1).
    `restarts`: half cosines of `restart_every` steps, each `restart_growth` times as long as the last.

    `optimizer` is one of the bank's own (icl/training/optimizers.py), or a name of pytorch_optimizer; that gets
    betas, eps, momentum and weight_decay where it knows them, and `optimizer_options`.
    """

    steps: int = 3000
    batch_size: int = 512
    optimizer: str = "adam"
    optimizer_options: dict[str, Any] = field(default_factory=dict)
    lr: float = 1e-3
    betas: list[float] = field(default_factory=lambda: [0.9, 0.98])
    eps: float = 1e-8
    momentum: float = 0.0
    weight_decay: float = 0.0
    clip: float | None = None  # largest gradient norm of one member
    clip_share: float = 0.0  # the share of a member's coordinates, those of largest gradient, cut to the next
    adaptive_clip: float | None = None  # largest gradient norm over parameter norm, a unit (a row of a weight)
    gradient_noise: float = 0.0  # its variance at step 0; at step k over (1 + k)^0.55
    schedule: str = "constant"
    hold: float = 0.0
    warmup: int = 0
    restart_every: int | None = None
    restart_growth: float = 1.0
    stream: str = "own"
    data_seed: int = 0  # keys the shared stream
    n_batches: int | None = None  # the prompts of the first n_batches steps again and again; 1 is full-batch training
    curriculum: Any = None  # {"task.n_context": {0: 5, 1000: 10}}
    ramp: Any = None  # {"task.dropout": {0: 0.0, 300: 1.0}}: the same, linear in between
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
        for name in ("clip", "adaptive_clip", "restart_every", "max_seconds"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ConfigError(f"train.{name}={value} must be a finite number > 0, or null")
        for name in ("hold", "momentum", "clip_share"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise ConfigError(f"train.{name}={value} must be in [0, 1)")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"train.betas={list(self.betas)} must be two numbers in [0, 1)")
        self._stages("curriculum", "e.g. {0: 5, 1000: 10}")
        self._stages("ramp", "e.g. {0: 0.0, 300: 1.0}")
        self._together()

    def _stages(self, name: str, example: str) -> None:
        if getattr(self, name) is None:
            setattr(self, name, {})
        if not isinstance(getattr(self, name), Mapping):
            raise ConfigError(f"train.{name}={getattr(self, name)} must map names of fields to stages, or be null")
        for key, stages in getattr(self, name).items():
            if not isinstance(stages, Mapping) or not stages or not all(_is_step(step) for step in stages):
                raise ConfigError(f"train.{name}.{key}={stages} must map steps to values, {example}")
            if name == "ramp" and not all(_is_number(value) for value in stages.values()):
                raise ConfigError(f"train.ramp.{key}={stages} must have finite numbers as values")

    def data_step(self, step: int) -> int:
        """The step whose prompts are seen at `step`."""
        return step if self.n_batches is None else step % self.n_batches

    def _choices(self) -> None:
        known = (*OPTIMIZERS, *LIBRARY_OPTIMIZERS)
        if self.optimizer in set(MIXING_OPTIMIZERS) - set(known):
            raise ConfigError(f"train.optimizer={self.optimizer} {_MIXES}; allowed: {', '.join(known)}")
        choices = {"optimizer": known, "schedule": SCHEDULES, "stream": STREAMS, "matmul": MATMULS}
        for name, allowed in choices.items():
            value = getattr(self, name)
            if value not in allowed:
                raise ConfigError(f"train.{name}={value!r} is unknown{nearest(str(value), allowed)}")

    def _together(self) -> None:
        """Fields that need, or do not bear, each other."""
        library = self.optimizer in LIBRARY_OPTIMIZERS
        if self.optimizer_options and not library:
            raise ConfigError(
                f"train.optimizer_options={dict(self.optimizer_options)} is for an optimizer of pytorch_optimizer "
                f"({', '.join(LIBRARY_OPTIMIZERS)}), not for {self.optimizer}"
            )
        if (self.schedule == "restarts") != (self.restart_every is not None):
            raise ConfigError(
                f"train.restart_every={self.restart_every} and train.schedule={self.schedule}: "
                "schedule=restarts needs restart_every, and only it does"
            )
        if self.cuda_graph and self.ramp:
            raise ConfigError("train.ramp changes the task at every step, so train.cuda_graph must be false")
        if self.cuda_graph and (library or self.gradient_noise):
            what = f"optimizer={self.optimizer}" if library else f"gradient_noise={self.gradient_noise}"
            raise ConfigError(f"train.cuda_graph holds the bank's own optimizers, not train.{what}")


_MIXES = "takes one norm over a tensor and would mix the members of a bank"


def check_members(train: Any, n_members: int) -> None:
    """Refuse a bank of more than one member to an optimiser that would mix them."""
    if n_members > 1 and train.optimizer in MIXING_OPTIMIZERS:
        allowed = ", ".join((*OPTIMIZERS, *ELEMENTWISE_OPTIMIZERS))
        raise ConfigError(
            f"train.optimizer={train.optimizer} {_MIXES}, here of n_seeds={n_members}; allowed: {allowed}; or n_seeds=1"
        )


def check_large(train: Any) -> None:
    """Refuse what the trainer of one large model does not have."""
    asked = [f"optimizer={train.optimizer}"] if train.optimizer in ("normalized", "sign") else []
    rules = ("clip_share", "adaptive_clip", "gradient_noise")
    asked += [f"{name}={getattr(train, name)}" for name in rules if getattr(train, name)]
    if asked:
        raise ConfigError(f"train.{asked[0]} is for banks; it does not stand together with accelerate or devices > 1")


def _is_step(step: Any) -> bool:
    return isinstance(step, int) and not isinstance(step, bool) and step >= 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
