"""The parts of a study of a language model: what is asked of each seed, where its answer lies, and the asking."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icl.atomic import write_json
from icl.claims.claim import PROBES
from icl.comparisons.language_member import Member
from icl.comparisons.language_parts import to_json
from icl.comparisons.measured import Measured
from icl.comparisons.walk import compare
from icl.config import ConfigError, build
from icl.config.schema import plain
from icl.rng import Draw
from icl.runs import digest

HEADLINES = ("gain", "sim_aou", "sim_am_delta", "accuracy", "ratio_most")


@dataclass(frozen=True)
class Part:
    """One question to one seed; `at` is <reference>/<comparison> or probes/<probe>."""

    seed: int
    at: str
    path: Path  # of its answer
    ask: Callable[[Member], Measured]


def seeds_of(cfg: Any) -> list[int]:
    return list(range(cfg.seed, cfg.seed + cfg.n_seeds))


def parts(cfg: Any, folder: Path) -> list[Part]:
    """All of them, seed by seed."""
    size = n_queries(cfg, build(cfg.task, plugins=cfg.plugins, key="task"))
    return [
        Part(seed, at, folder / "parts" / f"{digest([seed, size, nodes])}.json", ask)
        for seed in seeds_of(cfg)
        for at, nodes, ask in _questions(cfg, Draw([seed], "study"))
    ]


def still_open(every: Sequence[Part], *, resume: bool) -> list[Part]:
    return [part for part in every if not (resume and part.path.exists())]


def n_queries(cfg: Any, task: Any) -> int:
    return task.n_queries if cfg.max_prompts is None else min(task.n_queries, cfg.max_prompts)


def members(cfg: Any, model: Any, seeds: Sequence[int]) -> list[Member]:
    """The prompts of these seeds, in the model's tokens.

    Raises:
        ConfigError: the model or the data are not there, or do not fit each other.
    """
    task = build(cfg.task, plugins=cfg.plugins, key="task")
    try:
        return [Member(model, task, seed, n_queries(cfg, task)) for seed in seeds]
    except ValueError as error:
        raise ConfigError(f"task and model: {error}") from None


def ask(member: Member, part: Part, *, writes: bool, shown: bool) -> None:
    """One answer, and its file."""
    begun = time.process_time()
    found = part.ask(member)
    seconds = time.process_time() - begun
    if not writes:
        return
    part.path.parent.mkdir(parents=True, exist_ok=True)
    about = {"at": part.at, "seed": part.seed, "cpu_seconds": round(seconds, 2)}
    write_json(part.path, to_json(found) | about)
    if shown:
        print(f"  seed {part.seed}  {part.at:36s} {_headline(found)}  {seconds:.1f} s", flush=True)


def _questions(cfg: Any, draw: Draw) -> Iterator[tuple[str, list[Any], Callable[[Member], Measured]]]:
    """(at, the nodes that make the question what it is, how it is asked)."""
    for name, node in plain(cfg.probes).items():
        probe = build(node, plugins=cfg.plugins, key=f"probes.{name}")
        yield f"{PROBES}/{name}", [node], lambda member, p=probe: p.measure(member, member.task, draw)
    for name, node in _by_start(plain(cfg.references)):
        reference = build(node, plugins=cfg.plugins, key=f"references.{name}")
        for question, asked in plain(cfg.comparisons).items():
            comparison = build(asked, plugins=cfg.plugins, key=f"comparisons.{question}")
            if getattr(comparison, "fits", lambda _: True)(reference):
                how = lambda member, c=comparison, r=reference: compare(c, member, r, member.task, draw)  # noqa: E731
                yield f"{name}/{question}", [node, asked], how


def _by_start(references: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Arms that begin at the same weights together: one untrained model is drawn at a time."""
    return sorted(references.items(), key=lambda item: str(item[1].get("start", "")))


def _headline(found: Measured) -> str:
    shown = [f"{name} {found.numbers[name][0].item():.4g}" for name in HEADLINES if name in found.numbers]
    return ", ".join(shown)
