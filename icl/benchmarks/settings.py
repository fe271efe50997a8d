"""What a benchmark may be asked for, and the machine it ran on."""

import os
import platform
import resource
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from icl.benchmarks.timing import WARM_CPU, WARM_CUDA, Candidate, Clock, Table, clock, paired
from icl.models.matmul_route import LARGEST_ERROR, fast_route_error
from icl.training.outcome import git_commit, versions

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Sizes and rounds. D covariates, N context pairs, B prompts, L layers, M members; None: the workload's own."""

    d: int = 10
    N: int = 10
    B: int = 2048
    L: tuple[int, ...] | None = None
    M: tuple[int, ...] | None = None
    threads: int = 1
    clock: str = "cpu"
    rounds: int = 7
    seconds: float = 0.3
    device: str = "cpu"
    dtype: str = "fp32"
    quick: bool = False
    graph: bool = False  # CUDA: whole steps in one launch

    @cached_property
    def fast_route(self) -> bool:
        """Whether there is a faster float32 product on this CPU that is as exact as the usual one."""
        return self.device == "cpu" and self.dtype == "fp32" and fast_route_error() < LARGEST_ERROR

    @property
    def torch_dtype(self) -> torch.dtype:
        return DTYPES[self.dtype]

    @property
    def timer(self) -> Clock:
        return clock(self.clock, self.device)

    def goal(self, value: float) -> float | None:
        """A goal holds for the sizes it was set for: d = N = 10, batch 2048, float32, on one thread of a CPU."""
        own = Settings()
        same = all(getattr(self, key) == getattr(own, key) for key in ("d", "N", "B", "device", "dtype", "threads"))
        return value if same else None

    def table(self, title: str, candidates: list[Candidate], *notes: str) -> Table:
        """Time the candidates in the same rounds."""
        warm = WARM_CUDA if self.device.startswith("cuda") else WARM_CPU
        timed = paired(candidates, rounds=self.rounds, seconds=self.seconds, clock=self.timer, warm=warm)
        return Table(title=title, rows=timed, notes=notes)


def environment(settings: Settings) -> dict[str, Any]:
    """The machine and the libraries, as far as they can change a time."""
    found: dict[str, Any] = {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "load": [round(x, 2) for x in os.getloadavg()],
        "system": f"{platform.system()} {platform.machine()}",
        "versions": versions(),
        "git_commit": git_commit(),
        "threads": torch.get_num_threads(),
        "default_fp32_route": "MKL" if torch.backends.mkl.is_available() else "BLAS of torch",
        "fast_fp32_route": "oneDNN" if settings.fast_route else None,
        "fast_fp32_route_error": fast_route_error(),
    }
    if settings.device.startswith("cuda"):
        found |= {"gpu": torch.cuda.get_device_name(settings.device), "cuda": torch.version.cuda}
    return found


def cpu_model() -> str:
    """As /proc/cpuinfo calls it, else as Python does; a virtual machine may leave only the family to tell it by."""
    path = Path("/proc/cpuinfo")
    lines = [line.partition(":") for line in path.read_text().splitlines()] if path.exists() else []
    known = {key.strip(): value.strip() for key, _, value in lines}
    if "model name" not in known:
        return platform.processor()
    return f"{known['model name']} (family {known.get('cpu family')}, model {known.get('model')})"


def peak_memory_mib(settings: Settings) -> float:
    """The most memory that this process ever held, on the device in use."""
    if settings.device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(settings.device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
