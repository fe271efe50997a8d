"""The command line of `scripts/bench.py`."""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from icl.atomic import write_json
from icl.config import ConfigError, nearest

WORKLOADS = {
    "lsa": "one model of one layer: the plain form and the fast ones",
    "deep": "2 and 4 layers",
    "cot": "chain of thought: cached rollout, masked teacher forcing",
    "loop": "looped transformers: a step against a plain block, checkpointed memory",
    "gpt": "transformers: a step against GPT-2 of Hugging Face, banks against their members",
    "eval": "baselines at every prefix against loops over positions",
    "bank": "banks: shared stream, own streams, population loss",
    "peak": "matrix products and random numbers of the machine",
    "sweep": "whole processes: a sweep as one command, memory, first step, launcher",
}
READS = {
    "lsa": "dNB",
    "deep": "dNBLM",
    "cot": "dNB",
    "loop": "",
    "gpt": "M",
    "eval": "",
    "bank": "dNBM",
    "peak": "",
    "sweep": "dNBM",
}  # sizes
QUICK: dict[str, Any] = {"rounds": 3, "seconds": 0.05}
QUICK_MEMBERS = {"deep": (1,), "bank": (1, 4, 32)}


class Parser(argparse.ArgumentParser):
    """Bad input is one line."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(message)


def numbers(text: str) -> tuple[int, ...]:
    """`1,32,128`."""
    return tuple(positive(part) for part in text.split(","))


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number >= 1")
    return int(text)


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} must be a number >= 0")
    return value


def parser() -> Parser:
    p = Parser(
        prog="lab bench", formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
        description="Time the lab: medians [ranges] over rounds, ratios taken round by round, goals.",
        epilog="\n".join(f"  {name:6s} {what}" for name, what in WORKLOADS.items()),
    )  # fmt: skip
    p.add_argument("workload", nargs="?", help="one of those below (default: all)")
    p.add_argument("--quick", action="store_true", help="everything small, in less than a minute")
    p.add_argument("--d", type=positive, help="covariates (10)")
    p.add_argument("--N", type=positive, help="context pairs (10)")
    p.add_argument("--B", type=positive, help="prompts a batch (2048)")
    p.add_argument("--L", type=numbers, help="deep: layers, e.g. 2,4")
    p.add_argument("--M", type=numbers, help="deep, bank, sweep: members, e.g. 1,32,128")
    p.add_argument("--threads", type=positive, default=1, help="of the CPU (1)")
    p.add_argument("--clock", choices=("cpu", "wall"), help="cpu: time of the process (default); wall on cuda")
    p.add_argument("--rounds", type=positive, help="(7)")
    p.add_argument("--seconds", type=seconds, help="for a candidate in a round (0.3)")
    p.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    p.add_argument("--graph", action="store_true", help="cuda: whole steps as graphs, against eager ones of torch.nn")
    p.add_argument("--dtype", default="fp32", choices=("fp32", "bf16"))
    p.add_argument("--json", type=Path, metavar="OUT.json", help="also write everything there, with the environment")
    return p


def bench(argv: Sequence[str]) -> None:
    """Run one workload or all, print what was measured, and keep it as JSON."""
    asked = parser().parse_args(argv)
    names = chosen(asked)
    if asked.json is not None and not asked.json.parent.is_dir():
        raise ConfigError(f"--json {asked.json}: there is no folder {asked.json.parent}")
    settings = settings_of(asked)
    from icl.benchmarks.settings import environment

    found: dict[str, Any] = {
        "command": " ".join(["scripts/bench.py", *without_json(argv)]),
        "environment": environment(settings),
        "workloads": {},
    }
    print(*(f"{key}: {value}" for key, value in found["environment"].items()), sep="\n")
    for name in names:
        for record in measured(name, settings, asked.M):
            found["workloads"][name] = record
            if asked.json is not None:  # after every table, so that nothing measured is lost
                write_json(asked.json, found)


def chosen(asked: Any) -> list[str]:
    """The workloads; a size that the one asked for does not read is refused.

    Raises:
        ConfigError: no such workload, or a size without meaning.
    """
    if asked.graph:
        if asked.workload is not None:
            raise ConfigError(f"--graph is a set of its own: leave out {asked.workload!r}")
        return ["graph"]
    if asked.workload is None:
        return list(WORKLOADS)
    if asked.workload not in WORKLOADS:
        raise ConfigError(f"workload {asked.workload!r} is unknown{nearest(asked.workload, WORKLOADS)}")
    for size in "dNBLM":
        if getattr(asked, size) is not None and size not in READS[asked.workload]:
            raise ConfigError(f"--{size} has no meaning for the workload {asked.workload}")
    return [asked.workload]


def settings_of(asked: Any) -> Any:
    """Raises ConfigError for a device that is not there, or a clock that cannot time it."""
    import torch

    from icl.benchmarks.settings import Settings

    if asked.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device cuda: this machine has no CUDA device (allowed here: cpu)")
    if asked.graph and asked.device != "cuda":
        raise ConfigError("--graph needs --device cuda")
    if asked.device == "cuda" and asked.clock == "cpu":
        raise ConfigError("--clock cpu: work on a GPU takes no CPU time; use --clock wall")
    torch.set_num_threads(asked.threads)
    given = {key: getattr(asked, key) for key in ("d", "N", "B", "L", "M", "rounds", "seconds", "clock")}
    given = (QUICK if asked.quick else {}) | {key: value for key, value in given.items() if value is not None}
    if asked.device == "cuda":
        given["clock"] = "wall"
    return Settings(**given, threads=asked.threads, device=asked.device, dtype=asked.dtype, quick=asked.quick)


def measured(name: str, settings: Any, members: Sequence[int] | None) -> Iterator[dict[str, Any]]:
    """Run and print one workload; after each table its record so far."""
    from importlib import import_module

    from icl.benchmarks.settings import peak_memory_mib

    if settings.quick and members is None:
        settings = replace(settings, M=QUICK_MEMBERS.get(name))
    begun, tables = time.perf_counter(), []
    for table in import_module(f"icl.benchmarks.{name}").run(settings):
        print(f"\n== {name}: {table.title}", *(f"   {note}" for note in table.notes), *table.rows, sep="\n", flush=True)
        tables.append({"title": table.title, "notes": list(table.notes), "rows": [row.record() for row in table.rows]})
        yield {"tables": tables, "peak_memory_mib": round(peak_memory_mib(settings), 1),
               "wall_seconds": round(time.perf_counter() - begun, 1)}  # fmt: skip


def without_json(argv: Sequence[str]) -> list[str]:
    """The command without where its record goes."""
    kept, skip = [], False
    for word in argv:
        if not skip and not word.startswith("--json"):
            kept.append(word)
        skip = word == "--json"
    return kept
