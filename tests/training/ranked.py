"""What the tests run inside a rank: importable by name, so that spawned processes find it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from icl.config import Train
from icl.config.machines import Accelerate
from icl.models.linear_attention import LinearAttention
from icl.objectives.last import Last
from icl.tasks.linear_regression import LinearRegression
from icl.training.accelerated import Large
from icl.training.bank import Stopped

TASK = LinearRegression(dim=4, n_context=6)
TRAIN = Train(steps=12, batch_size=8, clip=0.1, lr=1e-2, checkpoint_every=5, schedule="cosine", optimizer="adamw",
              weight_decay=0.1, log_every=1)  # fmt: skip


def model(dtype: torch.dtype = torch.float64, device: str = "cpu") -> LinearAttention:
    """4 x (1, 2, 5, 5): not even a fifth of its parameters divides by two ranks, but its layers do."""
    return LinearAttention(dim=4, n_layers=2, init_scale=0.1, dtype=dtype, device=device)


def large(folder: Path | None, options: Accelerate, device: str = "cpu") -> Large:
    return Large(task=TASK, model=model(device=device), objective=Last(), train=TRAIN, seed=3, options=options,
                 folder=folder)  # fmt: skip


def interrupted(folder: Path, *, at: int, options: Accelerate, device: str = "cpu") -> None:
    """A training that ends after the checkpoint before step `at`, as its last whole one."""
    one = large(folder, options, device)
    step = one.step

    def stops(number: int) -> torch.Tensor:
        if number == at:
            one._save = lambda step: None  # pyright: ignore[reportAttributeAccessIssue]
            raise Stopped("killed")
        return step(number)

    one.step = stops  # pyright: ignore[reportAttributeAccessIssue]
    try:
        one.run()
    except Stopped:
        return
    raise AssertionError("it was not interrupted")


def outcome(one: Large) -> dict[str, Any]:
    history = one.run()
    weights = {name: value.tolist() for name, value in one.weights().items()}
    return {"weights": weights, "loss": [row.tolist() for row in history.loss], "steps": history.steps}


def all_ways(folder: str, ways: Mapping[str, Mapping[str, Any]], device: str = "cpu") -> dict[str, Any]:
    """World size, whole weights, losses and numbers held, of a whole and of a resumed training, by way."""
    found = {}
    for name, kwargs in ways.items():
        options = Accelerate(**kwargs)
        one = large(None, options, device)
        whole = outcome(one)
        held = sum(getattr(p, "_local_tensor", p).numel() for p in one.loss.parameters())
        interrupted(Path(folder, name), at=8, options=options, device=device)
        resumed = outcome(large(Path(folder, name), options, device))
        found[name] = {"ranks": one.ranks, "held": held, "resumed": resumed, **whole}
    return found


def broken() -> None:
    raise ValueError("the third wheel is missing")
