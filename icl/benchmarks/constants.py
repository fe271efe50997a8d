"""The constants of `analysis/scaling.py`: CPU seconds a training step, one axis of the problem varied at a time.

python -m icl.benchmarks.constants analysis/benchmarks/scaling.json
"""

import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import torch

from icl.atomic import write_json
from icl.config import Train
from icl.models.linear_attention import LinearAttention
from icl.objectives.last import Last
from icl.tasks.linear_regression import LinearRegression
from icl.training.bank import Bank

CENTRE = {"M": 16, "d": 10, "N": 20, "L": 1, "B": 64}
AXES = {"M": (1, 4, 16, 64, 256, 1024), "d": (5, 10, 20, 40), "N": (10, 20, 40, 80), "L": (1, 2, 4, 8)}
ROUNDS, STEPS = 3, 6


def step_seconds(*, M: int, d: int, N: int, L: int, B: int) -> float:
    """CPU seconds of one step of a bank on a shared stream: the least over rounds, since load only adds."""
    task = LinearRegression(dim=d, n_context=N)
    model = LinearAttention(dim=d, n_layers=L, n_seeds=M)
    train = Train(steps=ROUNDS * STEPS + 2, batch_size=B, stream="shared", lr=1e-6)
    bank = Bank(task=task, model=model, objective=Last(), train=train, seeds=range(M))
    bank.start()
    for step in range(2):
        bank.step(step)
    least = float("inf")
    for round in range(ROUNDS):
        begun = time.process_time()
        for step in range(STEPS):
            bank.step(2 + round * STEPS + step)
        least = min(least, (time.process_time() - begun) / STEPS)
    return least


def measure() -> dict[str, Any]:
    """The grid, a row a point, and where it was measured."""
    torch.set_num_threads(1)
    rows = []
    for axis, values in AXES.items():
        for value in values:
            sizes = CENTRE | {axis: value}
            rows.append({"axis": axis, **sizes, "seconds": step_seconds(**sizes)})
    about = {"machine": platform.machine(), "cpus": os.cpu_count(), "threads": 1, "torch": torch.__version__,
             "dtype": "float32", "device": "cpu", "clock": "process_time, least of rounds"}  # fmt: skip
    return {"environment": about, "centre": CENTRE, "rows": rows}


if __name__ == "__main__":
    write_json(Path(sys.argv[1]), measure())
