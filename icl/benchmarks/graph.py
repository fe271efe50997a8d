"""Whole training steps as CUDA graphs against the same steps eagerly, of the lab and of torch.nn: the goals of a GPU.

A single small model waits for launches, so a graph is held against the eager peer; a bank against the eager peer's
models*steps a second; a large model against the card's matrix product in the same rounds. Nothing in a step may wait
for the device: every candidate is called once with torch's synchronisation alarm on.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from icl.benchmarks import gpt, loop, peak
from icl.benchmarks.plain_linear_attention import plain_step
from icl.benchmarks.settings import Settings
from icl.benchmarks.steps import CLIP, training_step, von_oswald
from icl.benchmarks.timing import Candidate, Ratio, Table
from icl.objectives.population import Population

PEER, EAGER, GRAPH = "torch.nn, eager", "ours, eager", "ours, graph"
SINGLE_GOAL, TINY_BANK_GOAL, SHARE_GOAL = 5.0, (32, 10.0), 0.30
BANK_GOAL = (512, 300.0)
POPULATION, DEEP, GEMM = 4096, 64, 8192
SHORT = loop.Size(dim=5, n_context=10, width=64, n_heads=2, n_loops=12, batch_size=64)


def run(settings: Settings) -> Iterator[Table]:
    full, half = replace(settings, dtype="fp32"), replace(settings, dtype="bf16")
    yield one_layer(full)
    if settings.quick:
        return
    yield deep(full)
    yield loops(full)
    for kind in (full, half):
        yield tiny(kind)
    for kind in (full, half):
        yield standard(kind)


def one_layer(settings: Settings) -> Table:
    """One model, banks on a shared stream, and a bank on the exact loss, all against one model of torch.nn."""
    task, graphed = von_oswald(settings), replace(settings, graph=True)
    kind: dict[str, Any] = {"device": settings.device, "dtype": settings.torch_dtype}
    population = training_step(graphed, POPULATION, objective=Population(task=task))
    peer = plain_step(task, batch_size=settings.B, clip=CLIP, **kind)
    candidates = [
        Candidate(name=PEER, call=peer),
        against(EAGER, training_step(settings)),
        against(GRAPH, training_step(graphed), goal=SINGLE_GOAL),
        *(against(f"bank M={m}, graph", training_step(graphed, m), work=m, goal=_at(BANK_GOAL, m)) for m in (32, 512)),
        against(f"population loss M={POPULATION}, graph", population, work=POPULATION),
    ]
    return timed(settings, f"one layer, d={settings.d} N={settings.N} batch {settings.B}", candidates)


def deep(settings: Settings) -> Table:
    """Four layers, one model and a bank."""
    graphed = replace(settings, graph=True)
    candidates = [
        Candidate(name=EAGER, call=training_step(settings, n_layers=4)),
        against(GRAPH, training_step(graphed, n_layers=4), to=EAGER),
        against(f"bank M={DEEP}, graph", training_step(graphed, DEEP, n_layers=4), to=EAGER, work=DEEP),
    ]
    return timed(settings, f"4 layers, d={settings.d} N={settings.N} batch {settings.B}", candidates)


def loops(settings: Settings) -> Table:
    """A looped transformer against the plain block applied as often."""
    kind: dict[str, Any] = {"device": settings.device, "dtype": settings.torch_dtype}
    candidates = [
        Candidate(name=PEER, call=loop.plain_step(SHORT, **kind)),
        against(EAGER, loop.step(SHORT, **kind)),
        against(GRAPH, loop.step(SHORT, graph=True, **kind), goal=SINGLE_GOAL),
        against("bank M=8, graph", loop.step(replace(SHORT, n_seeds=8), graph=True, **kind), work=8),
    ]
    return timed(settings, f"looped, {SHORT}", candidates)


def tiny(settings: Settings) -> Table:
    """The tiny transformer and its bank against GPT-2 of Hugging Face in the same dtype."""
    kind: dict[str, Any] = {"device": settings.device, "dtype": settings.torch_dtype}
    members = TINY_BANK_GOAL[0]
    bank = gpt.step(replace(gpt.TINY, n_seeds=members), graph=True, **kind)
    candidates = [
        Candidate(name=gpt.PLAIN, call=gpt.plain_step(gpt.TINY, **kind)),
        against(EAGER, gpt.step(gpt.TINY, **kind), to=gpt.PLAIN),
        against(GRAPH, gpt.step(gpt.TINY, graph=True, **kind), to=gpt.PLAIN, goal=SINGLE_GOAL),
        against(f"bank M={members}, graph", bank, to=gpt.PLAIN, work=members, goal=TINY_BANK_GOAL[1]),
    ]
    return timed(settings, f"{gpt.TINY}, {settings.dtype}", candidates)


def standard(settings: Settings) -> Table:
    """The standard transformer; its share of what the card's matrix product reaches in the same dtype."""
    kind: dict[str, Any] = {"device": settings.device, "dtype": settings.torch_dtype}
    flop, product = step_flop(gpt.STANDARD, **kind), peak.gemm(settings, GEMM, settings.torch_dtype)
    goal = SHARE_GOAL if settings.dtype == "bf16" else None
    share = Ratio(to=product.name, of="flop", at_least=goal)
    candidates = [product, Candidate(name=gpt.PLAIN, call=gpt.plain_step(gpt.STANDARD, **kind), flop=flop)]
    for name, graph in ((EAGER, False), (GRAPH, True)):
        call = gpt.step(gpt.STANDARD, graph=graph, **kind)
        ratios = [Ratio(to=gpt.PLAIN), share] if graph else [Ratio(to=gpt.PLAIN)]
        candidates.append(Candidate(name=name, call=call, flop=flop, ratios=ratios))
    return timed(settings, f"{gpt.STANDARD}, {settings.dtype}", candidates)


def step_flop(size: gpt.Size, **kind: Any) -> float:
    """Floating-point operations of the products of one step, forwards and backwards, as torch counts them."""
    call = gpt.plain_step(size, **kind)
    with FlopCounterMode(display=False) as counter:
        call()
    return float(counter.get_total_flops())


def against(
    name: str, call: Callable[[], None], *, to: str = PEER, work: float = 1.0, goal: float | None = None
) -> Candidate:
    return Candidate(name=name, call=call, work=work, ratios=[Ratio(to=to, at_least=goal)])


def timed(settings: Settings, title: str, candidates: list[Candidate]) -> Table:
    waits = [c.name for c in candidates if not asynchronous(c.call)]
    note = f"waits for the device inside a step: {', '.join(waits) if waits else 'none'}"
    return settings.table(title, candidates, note)


def asynchronous(call: Callable[[], object]) -> bool:
    """Whether a warm call leaves the device to itself; torch raises at anything that waits."""
    for _ in range(2):
        call()
    try:
        with waiting_is_an_error():
            call()
    except RuntimeError as error:
        if "synchroniz" not in str(error):
            raise
        return False
    return True


@contextmanager
def waiting_is_an_error() -> Iterator[None]:
    """torch raises at whatever waits for a CUDA device."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it does not see everything yet
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def _at(goal: tuple[int, float], members: int) -> float | None:
    return goal[1] if members == goal[0] else None
