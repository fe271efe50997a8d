"""The plain commands: `list`, `explain experiment=NAME`, `report DIR`. They train nothing."""

import argparse
import json
import signal
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from icl.config import ConfigError, conf_dir, nearest
from icl.config.app import one_thread
from icl.runs import RunError

HEAD = ("Question", "Source", "Expect", "Cost", "Run")


def plain_main(command: Callable[[Sequence[str]], None]) -> None:
    """Run a plain command: one line and exit code 2 for bad input."""
    one_thread()
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `lab list | head` ends quietly
    try:
        command(sys.argv[1:])
    except (ConfigError, RunError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def heads() -> dict[str, dict[str, str]]:
    """Experiment -> the comment lines at the head of its file: question, source, expectation, cost, command."""
    found = {}
    for path in sorted(conf_dir().glob("experiment/*.yaml")):
        head: dict[str, str] = {}
        key = ""
        for text in path.read_text().splitlines():
            if not text.startswith("#"):
                break
            word, _, rest = text.removeprefix("#").strip().partition(" ")
            if word in HEAD:
                key, head[word] = word, rest.strip()
            elif key:
                head[key] += " " + text.removeprefix("#").strip()
        found[path.stem] = head
    return found


def list_experiments(argv: Sequence[str]) -> None:
    """Every experiment with its question, source, cost and last result under `--outputs`."""
    parser = argparse.ArgumentParser(prog="lab list", description=list_experiments.__doc__)
    parser.add_argument("--outputs", default="outputs", help="where the run folders are")
    outputs = Path(parser.parse_args(argv).outputs)
    for name, head in heads().items():
        print(name)
        for key in ("Question", "Source", "Cost"):
            print(textwrap.fill(head.get(key, "-"), 100, initial_indent=f"    {key:9s}", subsequent_indent=" " * 13))
        print(f"    Last     {last_result(outputs / name)}")


def last_result(folder: Path) -> str:
    """The newest claims.json below an experiment's folder, in words."""
    files = sorted(folder.glob("*/claims.json"), key=lambda path: path.stat().st_mtime)
    if not files:
        return "not run here"
    claims = json.loads(files[-1].read_text())["claims"]
    return f"{sum(c['holds'] for c in claims)} of {len(claims)} claims hold, {files[-1].parent}"


def explain(argv: Sequence[str]) -> None:
    """What an experiment asks and must show, and the definitions of its parts."""
    name = next((a.split("=", 1)[1] for a in argv if a.startswith("experiment=")), argv[0] if argv else "")
    known = heads()
    if name not in known:
        raise ConfigError(f"experiment={name!r} does not exist{nearest(name, known)}")
    print(name)
    for key, text in known[name].items():
        print(textwrap.fill(text, 100, initial_indent=f"    {key:9s}", subsequent_indent=" " * 13))
    cfg = composed(name)
    print("\nIt must show")
    for claim_id, claim in claims_of(cfg).items():
        source = f"   ({claim.source})" if claim.source else ""
        print(f"    {claim_id:28s} {claim.metric} {claim.bound}, {claim.over}{source}")
    print("\nParts")
    for key in ("task", "model", "objective"):
        _definition(key, cfg[key])
    for mount in ("references", "comparisons", "probes"):
        for part, node in cfg[mount].items():
            _definition(f"{mount}.{part}", node.get("model", node))


def composed(name: str) -> Any:
    from icl.pipelines.reproduce import compose

    return compose([f"experiment={name}"])


def claims_of(cfg: Any) -> dict[str, Any]:
    from icl.claims import read
    from icl.config.schema import plain

    return read(plain(cfg.claims))


def _definition(key: str, node: Any) -> None:
    from icl.config.build import locate

    if "_target_" not in node:
        return
    target = locate(key, node["_target_"])
    owner = getattr(target, "__self__", target)
    print(f"\n  {key}: {node['_target_']}")
    print(textwrap.indent(textwrap.dedent("    " + (owner.__doc__ or "")).strip(), "      "))


def report(argv: Sequence[str]) -> None:
    """Draw the report of a run folder, or of a sweep."""
    parser = argparse.ArgumentParser(prog="lab report", description=report.__doc__)
    parser.add_argument("folder", type=Path, help="outputs/<name>/<id>, or outputs/<name>/sweep-<id>")
    folder = parser.parse_args(argv).folder
    from icl.reporting.report import write_report
    from icl.reporting.sweep import write_sweep_report
    from icl.runs import RunFolder, load

    if (folder / "sweep.json").exists():
        sweep = json.loads((folder / "sweep.json").read_text())
        runs = [RunFolder(Path(job["folder"])) for job in sweep["jobs"]]
        print(write_sweep_report(folder, runs, sweep["axes"]))
        return
    print(write_report(load(folder).folder))
