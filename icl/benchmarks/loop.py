"""A looped transformer: its training step against a plain block of torch.nn in a loop, and the memory of 40 loops.

References:
    Yang, Lee, Nowak, Papailiopoulos 2023, Looped transformers are better at learning learning algorithms,
    arXiv:2311.12424 (the sizes)
"""

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path

import torch

from icl.benchmarks.plain_block import PlainLoop
from icl.benchmarks.processes import usages
from icl.benchmarks.settings import Settings
from icl.benchmarks.steps import bank_step, recipe
from icl.benchmarks.timing import Candidate, Ratio, Row, Spread, Table, Verdict
from icl.models.looped_transformer import LoopedTransformer
from icl.objectives.window import Window
from icl.rng import Draw
from icl.tasks.linear_regression import LinearRegression
from icl.training.bank import INIT, Bank
from icl.training.batches import DATA

STEP_GOAL, BANK_GOAL, MEMORY_GOAL = 1.0, 0.95, 0.45
MANY_LOOPS, MANY_PROMPTS, MEMORY_ROUNDS = 40, 8, 3
PLAIN, LOOPED = "plain block, torch.nn and SDPA", "looped transformer"
ONE_STEP = "import json, sys; from icl.benchmarks.loop import Size, step; step(Size(**json.loads(sys.argv[1])))()"


@dataclass(frozen=True, kw_only=True)
class Size:
    """Of a model, its prompts and its loops, all of them with gradient."""

    dim: int = 20
    n_context: int = 40
    width: int = 256
    n_heads: int = 8
    n_loops: int = 20
    batch_size: int = 16
    n_seeds: int = 1
    checkpoint: bool = False

    def __str__(self) -> str:
        return (f"d={self.dim}, {self.n_context + 1} points, {self.width} wide, {self.n_loops} loops, "
                f"batch {self.batch_size}")  # fmt: skip

    @property
    def task(self) -> LinearRegression:
        return LinearRegression(dim=self.dim, n_context=self.n_context, positions="every")


SOURCE = Size()
SMALL = Size(dim=5, n_context=10, width=64, n_heads=2, n_loops=8, batch_size=64)


def run(settings: Settings) -> Iterator[Table]:
    for size in (SMALL,) if settings.quick else (SMALL, SOURCE):
        yield steps(settings, size)
    if not settings.quick and settings.device == "cpu":
        yield memory(settings)


def steps(settings: Settings, size: Size) -> Table:
    """Prompts, loss over all loops and positions, gradient, Adam."""
    kind = {"device": settings.device, "dtype": settings.torch_dtype}
    goal = [Ratio(to=PLAIN, at_least=settings.goal(STEP_GOAL))]
    candidates = [
        Candidate(name=PLAIN, call=plain_step(size, **kind)),
        Candidate(name=LOOPED, call=step(size, **kind), ratios=goal),
        Candidate(name="checkpointed", call=step(replace(size, checkpoint=True), **kind), ratios=[Ratio(to=LOOPED)]),
    ]
    if settings.fast_route:
        candidates.append(Candidate(name="fast route", call=step(size, fast=True, **kind), ratios=goal))
    if size is SMALL:
        bank = step(replace(size, n_seeds=4), **kind)
        ratios = [Ratio(to=LOOPED, at_least=settings.goal(BANK_GOAL))]
        candidates.append(Candidate(name="M=4, own streams", call=bank, work=4, ratios=ratios))
    return settings.table(f"one step, {size}", candidates)


def memory(settings: Settings) -> Table:
    """What a step of 40 loops needs beyond one of a single loop, in processes of their own."""
    many = replace(SOURCE, n_loops=MANY_LOOPS, batch_size=MANY_PROMPTS)
    sizes = {"one loop": replace(many, n_loops=1), "stored": many, "checkpointed": replace(many, checkpoint=True)}
    commands = {name: lambda i, size=size: ["-c", ONE_STEP, json.dumps(asdict(size))] for name, size in sizes.items()}
    with tempfile.TemporaryDirectory() as folder:
        used = usages(commands, 1 if settings.quick else MEMORY_ROUNDS, Path(folder) / "memory")
    beyond = {
        name: [u.rss_mib - least.rss_mib for u, least in zip(used[name], used["one loop"], strict=True)]
        for name in ("stored", "checkpointed")
    }
    share = Spread.of(b / a for a, b in zip(beyond["stored"], beyond["checkpointed"], strict=True))
    verdicts = {
        "stored": [],
        "checkpointed": [Verdict(what="of that of stored", value=share, at_most=settings.goal(MEMORY_GOAL))],
    }
    rows = [
        Row(name=name, verdicts=[Verdict(what="MiB beyond one loop", value=Spread.of(beyond[name])), *more])
        for name, more in verdicts.items()
    ]
    return Table(title=f"peak memory of a step, {many}", rows=rows)


def step(
    size: Size, *, fast: bool = False, graph: bool = False, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> Callable[[], None]:
    """One step of the bank trainer at each call; `fast` takes the fast float32 route, `graph` one launch of CUDA."""
    model = LoopedTransformer(
        dim=size.dim, n_context=size.n_context, n_loops=size.n_loops, width=size.width, n_heads=size.n_heads,
        checkpoint=size.checkpoint, n_seeds=size.n_seeds, device=device, dtype=dtype,
    )  # fmt: skip
    seeds = list(range(size.n_seeds))
    model.reset(Draw(seeds, INIT, device=device, dtype=dtype))
    train = recipe(graph=graph, batch_size=size.batch_size, lr=1e-4)
    objective = Window(n_loops=size.n_loops, window=size.n_loops)
    bank = Bank(task=size.task, model=model, objective=objective, train=train, seeds=seeds)
    return bank_step(bank, fast=fast)


def plain_step(size: Size, *, device: str, dtype: torch.dtype) -> Callable[[], None]:
    """The same step of one model by torch.nn and torch.optim."""
    model = PlainLoop(size.dim, size.n_context, size.width, size.n_heads).to(device, dtype)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    draw, numbers = Draw([0], DATA, device=device, dtype=dtype), count()

    def call() -> None:
        sample = size.task.sample(size.batch_size, draw.at(next(numbers)))
        x, y = (t[0] for t in sample.prompt.positions())
        optimizer.zero_grad()
        (model(x, y, size.n_loops) - sample.target[0]).square().mean().backward()
        optimizer.step()

    return call
