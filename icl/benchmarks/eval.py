"""Baselines at every prefix of a prompt against the loops over positions that the literature runs.

References:
    Garg et al. 2022, What can transformers learn in-context?, arXiv:2208.01066 (64 prompts, 41 points, d = 20)
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from icl.algorithms.averaging import Averaging
from icl.algorithms.least_squares import LeastSquares
from icl.algorithms.nearest_neighbours import NearestNeighbours
from icl.benchmarks.settings import Settings
from icl.benchmarks.timing import Candidate, Ratio, Table
from icl.core import every_prefix
from icl.rng import Draw
from icl.tasks.linear_regression import LinearRegression

TASK, BATCH = LinearRegression(dim=20, n_context=40), 64
Prefixes = Callable[[Tensor, Tensor], Tensor]


def run(settings: Settings) -> Iterator[Table]:
    draw = Draw([0], "eval", device=settings.device, dtype=torch.float32)
    x, y = TASK.sample(BATCH, draw).prompt.positions()
    x, y = x.contiguous(), y.contiguous()
    for name, (loop, algorithm, goal) in PAIRS.items():
        candidates = [
            Candidate(name="loop of the source", call=partial(loop, x, y), unit="prompts", work=BATCH),
            Candidate(name="one call a prefix", call=partial(_one_by_one, algorithm, x, y), unit="prompts", work=BATCH),
            Candidate(
                name="every prefix at once", call=partial(algorithm.every_prefix, x, y), unit="prompts", work=BATCH,
                ratios=[Ratio(to="loop of the source", at_least=settings.goal(goal)), Ratio(to="one call a prefix")],
            ),
        ]  # fmt: skip
        yield settings.table(f"{name}, d={TASK.dim}, {TASK.n_context + 1} points, {BATCH} prompts", candidates)


def _one_by_one(algorithm: Any, x: Tensor, y: Tensor) -> Tensor:
    return every_prefix(lambda prompt: algorithm(prompt), x, y)[-1]


# ---- as the source writes them, for the prompts of one member, in the prompts' own dtype
def least_squares_loop(x: Float[Tensor, "1 B P D"], y: Float[Tensor, "1 B P"]) -> Float[Tensor, "1 B P"]:
    """`torch.linalg.lstsq` on the pairs before each position."""
    guesses = [torch.zeros_like(y[0, :, 0])]
    for i in range(1, x.shape[2]):
        w = torch.linalg.lstsq(x[0, :, :i], y[0, :, :i, None]).solution
        guesses.append((x[0, :, i : i + 1] @ w)[:, 0, 0])
    return torch.stack(guesses, 1)[None]


def neighbours_loop(x: Float[Tensor, "1 B P D"], y: Float[Tensor, "1 B P"], k: int = 3) -> Float[Tensor, "1 B P"]:
    """Distances sorted a position, labels looked up a prompt."""
    guesses = [torch.zeros_like(y[0, :, 0])]
    for i in range(1, x.shape[2]):
        distance = (x[0, :, :i] - x[0, :, i : i + 1]).square().sum(2).sqrt()
        ranks = distance.argsort(dim=1)[:, :k]
        guesses.append(torch.stack([labels[near].mean() for labels, near in zip(y[0, :, :i], ranks)]))
    return torch.stack(guesses, 1)[None]


def averaging_loop(x: Float[Tensor, "1 B P D"], y: Float[Tensor, "1 B P"]) -> Float[Tensor, "1 B P"]:
    """The mean of y x over the pairs before each position."""
    guesses = [torch.zeros_like(y[0, :, 0])]
    for i in range(1, x.shape[2]):
        w = (x[0, :, :i] * y[0, :, :i, None]).mean(1)[:, :, None]
        guesses.append((x[0, :, i : i + 1] @ w)[:, 0, 0])
    return torch.stack(guesses, 1)[None]


PAIRS: dict[str, tuple[Prefixes, Any, float]] = {
    "least squares": (least_squares_loop, LeastSquares(), 2.5),
    "3 nearest neighbours": (neighbours_loop, NearestNeighbours(k=3), 15.0),
    "averaging": (averaging_loop, Averaging(), 8.0),
}
