"""GPT-style transformers: a training step against one of Hugging Face's GPT-2, and banks against their members.

References:
    Garg et al. 2022, What can transformers learn in-context?, arXiv:2208.01066 (the three sizes)
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from icl.benchmarks.settings import Settings
from icl.benchmarks.steps import bank_step, recipe
from icl.benchmarks.timing import Candidate, Ratio, Table
from icl.models.transformer import Transformer
from icl.objectives.every_position import EveryPosition
from icl.rng import Draw
from icl.tasks.linear_regression import LinearRegression
from icl.training.bank import INIT, Bank
from icl.training.batches import DATA

PLAIN, OURS = "GPT2Model of Hugging Face", "transformer"
BANK_GOAL, NARROW_GOAL = 0.95, (32, 5.0)


@dataclass(frozen=True, kw_only=True)
class Size:
    """Of a model and its prompts."""

    name: str
    n_layers: int
    width: int
    n_heads: int
    dim: int = 20
    n_context: int = 40
    batch_size: int = 64
    n_seeds: int = 1
    goal: float | None = None

    def __str__(self) -> str:
        return (f"{self.name}: {self.n_layers} layers, {self.width} wide, d={self.dim}, {self.n_context + 1} points, "
                f"batch {self.batch_size}")  # fmt: skip

    @property
    def task(self) -> LinearRegression:
        return LinearRegression(dim=self.dim, n_context=self.n_context, positions="every")


TINY = Size(name="tiny", n_layers=3, width=64, n_heads=2, goal=1.5)
SMALL = Size(name="small", n_layers=6, width=128, n_heads=4, goal=1.25)
STANDARD = Size(name="standard", n_layers=12, width=256, n_heads=8, goal=1.1)
TOY = replace(TINY, name="toy", dim=5, n_context=10)
NARROW = replace(TOY, name="narrow", width=16, n_context=5, batch_size=8)


def run(settings: Settings) -> Iterator[Table]:
    for size in (TINY,) if settings.quick else (TINY, SMALL, STANDARD):
        yield steps(settings, size)
    for size in (NARROW, TOY) if settings.quick else (NARROW, TOY, TINY):
        yield banks(settings, size)


def steps(settings: Settings, size: Size) -> Table:
    """Prompts, loss at every position, gradient, Adam."""
    kind = {"device": settings.device, "dtype": settings.torch_dtype}
    goal = [Ratio(to=PLAIN, at_least=None if size.goal is None else settings.goal(size.goal))]
    candidates = [
        Candidate(name=PLAIN, call=plain_step(size, **kind)),
        Candidate(name=OURS, call=step(size, **kind), ratios=goal),
    ]
    if settings.fast_route:
        candidates.append(Candidate(name="fast route", call=step(size, fast=True, **kind), ratios=goal))
    return settings.table(f"one step, {size}", candidates)


def banks(settings: Settings, size: Size) -> Table:
    """M models, each on prompts of its own, against one; a bank is never slower than its members one by one."""
    kind = {"device": settings.device, "dtype": settings.torch_dtype}
    candidates = [Candidate(name="one model", call=step(size, **kind))]
    members = settings.M or ((32,) if size.width < TOY.width else (4, 8))
    for m in (m for m in members if m > 1):
        narrow = size.width < TOY.width and m == NARROW_GOAL[0]
        goal = settings.goal(NARROW_GOAL[1] if narrow else BANK_GOAL)
        call = step(replace(size, n_seeds=m), **kind)
        candidates.append(Candidate(name=f"M={m}", call=call, work=m, ratios=[Ratio(to="one model", at_least=goal)]))
    return settings.table(f"banks, {size}", candidates)


def step(
    size: Size, *, fast: bool = False, graph: bool = False, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> Callable[[], None]:
    """One step of the bank trainer at each call; `fast` takes the fast float32 route, `graph` one launch of CUDA."""
    model = Transformer(
        dim=size.dim, n_context=size.n_context, n_layers=size.n_layers, width=size.width, n_heads=size.n_heads,
        n_seeds=size.n_seeds, device=device, dtype=dtype,
    )  # fmt: skip
    seeds = list(range(size.n_seeds))
    model.reset(Draw(seeds, INIT, device=device, dtype=dtype))
    train = recipe(graph=graph, batch_size=size.batch_size, lr=1e-4)
    bank = Bank(task=size.task, model=model, objective=EveryPosition(), train=train, seeds=seeds)
    return bank_step(bank, fast=fast)


class PlainGPT2(nn.Module):
    """As the source writes it: a linear read-in, GPT2Model on embeddings, a linear read-out at the x tokens."""

    def __init__(self, size: Size) -> None:
        from transformers import GPT2Config, GPT2Model

        super().__init__()
        dropouts: dict[str, Any] = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
        sizes: dict[str, Any] = {"n_positions": 2 * size.n_context + 2, "n_embd": size.width, "n_layer": size.n_layers,
                                 "n_head": size.n_heads}  # fmt: skip
        self.read_in, self.read_out = nn.Linear(size.dim, size.width), nn.Linear(size.width, 1)
        self.backbone = GPT2Model(
            GPT2Config(vocab_size=1, bos_token_id=0, eos_token_id=0, use_cache=False, **sizes, **dropouts)
        )

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        labels = F.pad(y[..., None], (0, x.shape[2] - 1))
        tokens = self.read_in(torch.stack((x, labels), 2).flatten(1, 2))
        return self.read_out(self.backbone(inputs_embeds=tokens).last_hidden_state)[:, ::2, 0]


def plain_step(size: Size, *, device: str, dtype: torch.dtype) -> Callable[[], None]:
    """The same step of one model by transformers and torch.optim."""
    model = PlainGPT2(size).to(device, dtype)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    draw, numbers = Draw([0], DATA, device=device, dtype=dtype), count()

    def call() -> None:
        sample = size.task.sample(size.batch_size, draw.at(next(numbers)))
        x, y = (t[0] for t in sample.prompt.positions())
        optimizer.zero_grad()
        (model(x, y) - sample.target[0]).square().mean().backward()
        optimizer.step()

    return call
