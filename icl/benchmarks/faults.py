"""Kill trainings at random moments, give the same command again, and compare with one that was never killed.

    scripts/lab kill_runs n=200 seed=0

Three commands (a lone run, a bank of seeds, a sweep of two banks) are killed by SIGKILL and SIGTERM: at a random time
from the first line of the command to the last, in the middle of a write (the temporary file is cut in half first), or
just before a rename. Each command runs in a fork of this process, which has imported the libraries and nothing else.
After every kill each file must be whole; at the end nothing finished may have been touched again, nothing may be left
over, and weights, snapshots, metrics, configurations and results must be those of the run that nobody disturbed.
"""

import hashlib
import importlib
import json
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from icl.benchmarks.killing import Kill, run
from icl.runs import RunFolder

TINY = ("task.dim=3", "task.n_context=4", "train.steps=200", "train.batch_size=4", "train.checkpoint_every=10",
        "model.init_scale=1.0", "progress=false")  # fmt: skip
CASES = {
    "run": (),
    "bank": ("n_seeds=4",),
    "sweep": ("seed=0,1", "task.n_context=4,5", "launcher=bank"),
}
SIGNALS = (signal.SIGKILL, signal.SIGTERM)
BITS = ("weights.safetensors", "snapshots.safetensors", "metrics.jsonl", "config.yaml")
TIMES = ("wall_seconds", "cpu_seconds")  # all that may differ in a result


@dataclass(frozen=True)
class Reference:
    """A command as it runs when nobody disturbs it."""

    arguments: Sequence[str]
    seconds: float
    calls: dict[str, int]  # place -> how often
    bits: dict[str, str]


def refer(name: str, folder: Path) -> Reference:
    """Run the case `name` twice in `folder`: once to learn what it imports (the forks need not then), once to keep."""
    arguments = (*TINY, *CASES[name])
    for place in ("first", "whole"):
        begun = time.monotonic()
        if run(arguments, folder / place, None):
            raise RuntimeError(f"{name} fails by itself: {(folder / place).with_suffix('.log').read_text()}")
        seconds = time.monotonic() - begun
        about = json.loads((folder / place).with_suffix(".about").read_text())
        for module in about["modules"]:
            importlib.import_module(module)
    return Reference(arguments, seconds, about["calls"], fingerprints(folder / "whole"))


def torture(reference: Reference, folder: Path, kills: Sequence[Kill]) -> tuple[list[Kill], list[str]]:
    """Kill one command again and again, then let it finish. Returns the kills that met it alive, and what is wrong."""
    met, wrong = [], []
    for kill in kills:
        before = stamps(folder)
        code = run(reference.arguments, folder, kill, reference.seconds)
        wrong += damaged(folder) + [f"{name} was written again" for name in touched(before, stamps(folder))]
        if code == 0:
            break
        if code not in (-kill.how, 128 + kill.how):
            wrong.append(f"exit code {code} after {kill}")
        met.append(kill)
    before = stamps(folder)
    code = run(reference.arguments, folder, None)
    wrong += [f"{name} was written again" for name in touched(before, stamps(folder))]
    wrong += [f"exit code {code} of the undisturbed command"] if code else []
    found = fingerprints(folder)
    names = sorted(found.keys() | reference.bits.keys())
    wrong += [f"{name} differs" for name in names if found.get(name) != reference.bits.get(name)]
    wrong += [f"{path.name} is left over" for path in folder.rglob(".*") if path.name != ".lock"]
    if "Traceback" in (log := folder.with_suffix(".log").read_text()):
        wrong.append(log)
    return met, wrong


def fingerprints(folder: Path) -> dict[str, str]:
    """<run>/<file> -> hash, of everything that must not depend on an interruption."""
    found = {}
    for path in sorted(folder.glob("outputs/run/*/*")):
        if path.parent.is_symlink() or path.name not in (*BITS, "result.json"):
            continue
        data = path.read_bytes()
        if path.name == "result.json":
            data = json.dumps({k: v for k, v in json.loads(data).items() if k not in TIMES}).encode()
        found[f"{path.parent.name}/{path.name}"] = hashlib.sha256(data).hexdigest()
    return found


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """The files of finished runs: written once, and never again."""
    finished = [path.parent for path in folder.glob("outputs/run/*/done.json") if not path.parent.is_symlink()]
    files = [run / name for run in finished for name in (*BITS, "result.json", "done.json")]
    return {f"{p.parent.name}/{p.name}": (p.stat().st_ino, p.stat().st_mtime_ns) for p in files if p.exists()}


def touched(before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]]) -> list[str]:
    return [name for name, stamp in before.items() if after.get(name) != stamp]


def damaged(folder: Path) -> list[str]:
    """Files that cannot be read; temporary ones do not count, since nobody reads them."""
    from safetensors import safe_open

    wrong = []
    for path in folder.rglob("*.*"):
        try:
            if path.suffix == ".json":
                json.loads(path.read_text())
            elif path.suffix == ".jsonl":
                RunFolder(path.parent).metrics()
            elif path.suffix == ".safetensors":
                safe_open(path, framework="pt").__enter__()
        except Exception as error:
            wrong.append(f"{path.name} cannot be read: {error}")
    return wrong


def plans(reference: Reference, random_numbers: random.Random) -> list[Kill]:
    """One to three kills in a row."""
    found = []
    for _ in range(random_numbers.randint(1, 3)):
        place = random_numbers.choice(["time", "time", "write", "rename"])
        when = random_numbers.uniform(0, 1) if place == "time" else random_numbers.randint(1, reference.calls[place])
        found.append(Kill(random_numbers.choice(SIGNALS), place, when))
    return found


def campaign(n: int, seed: int) -> int:
    """At least n kills; prints a summary and returns the number of commands that did not resume as they must."""
    import icl.pipelines.train  # noqa: F401 (the forks need not)

    numbers, counts, failed, trials, begun = random.Random(seed), Counter(), 0, 0, time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        references = {name: refer(name, Path(place, name)) for name in CASES}
        while sum(counts[how.name] for how in SIGNALS) < n:
            name = numbers.choice(list(CASES))
            folder = Path(place, f"{name}-{trials}")
            met, wrong = torture(references[name], folder, plans(references[name], numbers))
            counts.update([name for kill in met for name in (kill.how.name, kill.place)])
            counts.update([name] * len(met))
            trials += 1
            failed += bool(wrong)
            for line in wrong:
                print(f"{folder.name}: {line}", flush=True)
            shutil.rmtree(folder)
    kills = sum(counts[how.name] for how in SIGNALS)
    detail = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    print(
        f"{kills} kills ({detail}) of {trials} commands in {time.monotonic() - begun:.0f} s: {trials - failed} resumed "
        f"to the same bits with no half-written file and nothing run twice, {failed} did not"
    )
    return failed
