"""Tables of one run's report: the claims, all numbers, how it was run, the files."""

import statistics
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from icl.reporting.page import Raw, breakable, folded, measured, number, table
from icl.runs import RunFolder

CONTENTS = {
    "config.yaml": "the resolved configuration",
    "overrides.txt": "what was typed",
    "metrics.jsonl": "losses, one row a logged step",
    "snapshots.safetensors": "weights at log-spaced steps",
    "weights.safetensors": "final weights, one member a seed",
    "result.json": "final numbers, versions, time",
    "comparisons.json": "what the comparisons measured",
    "claims.json": "the judged claims",
    "done.json": "the mark of a finished run",
}
STREAMS = {
    "own": "own: every seed sees its own prompts",
    "shared": "shared: all members see the same prompts",
}


def claims_table(claims: Sequence[Mapping[str, Any]]) -> str:
    columns = ("Claim", "Source", "Worst seed", "Median", "Range", "Bound", "Verdict")
    return table(columns, map(_claim, claims), numeric=(2, 3, 4, 6)) if claims else ""


def _claim(claim: Mapping[str, Any]) -> list[Any]:
    name = f"{escape(claim['id'])}<small>{breakable(claim['metric'])}</small>"
    value = claim.get("source_value")
    source = "" if value is None else escape(number(value))
    source += f"<small>{escape(claim['source'])}</small>" if claim.get("source") else ""
    middle = measured(claim.get("median"))
    if claim.get("over") in ("mean", "average"):
        low, high = claim.get("interval") or (None, None)
        middle = f"{measured(claim.get('mean'))}<small>mean, 95 %: {measured(low)} … {measured(high)}</small>"
    bound = str(claim.get("bound", "")).replace("<=", "≤").replace(">=", "≥")
    held = '<b class="good">✓ holds</b>' if claim["holds"] else '<b class="bad">✗ fails</b>'
    failing = ", ".join(map(str, claim.get("failing_seeds") or []))
    held += f"<small>seeds {escape(failing)}</small>" if failing else ""
    spread = _range(claim.get("min"), claim.get("max"))
    return [
        Raw(name),
        Raw(source or "none"),
        measured(claim.get("worst")),
        Raw(middle),
        spread,
        bound,
        Raw(held),
    ]


def _range(low: float | None, high: float | None) -> str:
    ends = measured(low), measured(high)
    return ends[0] if ends[0] == ends[1] else " … ".join(ends)


def numbers_table(comparisons: Mapping[str, Any]) -> str:
    """Every number that was measured, claimed or not, folded away."""
    prompts, intervals = (comparisons.get(key) or {} for key in ("n_prompts", "intervals"))
    rows = []
    for key, values in (comparisons.get("numbers") or {}).items():
        known = [value for value in values if value is not None and value == value]
        asked = prompts.get(key.rsplit("/", 1)[0])
        rows.append([
            Raw(breakable(key)), measured(statistics.median(known) if known else None),
            _range(min(known, default=None), max(known, default=None)), _half_width(intervals.get(key)),
            "exact" if asked == 0 else number(asked),
        ])  # fmt: skip
    columns = ("Number", "Median over seeds", "Range over seeds", "95 % over prompts", "Prompts")
    summary = f"{len(rows)} numbers, claimed or not"
    return folded(summary, table(columns, rows, numeric=(1, 2, 3, 4))) if rows else ""


def _half_width(intervals: Sequence[Sequence[float | None]] | None) -> str:
    """The widest of the members' intervals, as ± half its width."""
    widths = [high - low for low, high in intervals or [] if low is not None and high is not None]
    return f"± {max(widths) / 2:.2g}" if widths else "n/a"


def provenance(result: Mapping[str, Any], comparisons: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """How the run was made: only what the record states."""
    stated = {
        "seeds": _seeds(result.get("seeds") or []),
        "stream": STREAMS.get(result.get("stream", ""), result.get("stream")),
        "steps": number(result.get("steps")),
        "members in its bank": number(result.get("bank_members")),
        "device": result.get("device"),
        "dtype": result.get("dtype"),
        "training, wall time": f"{number(result.get('wall_seconds'), 3)} s",
        "training, CPU time": f"{number(result.get('cpu_seconds'), 3)} s",
        "prompts a comparison": _range_of_counts(comparisons.get("n_prompts") or {}),
        "versions": ", ".join(f"{name} {version}" for name, version in (result.get("versions") or {}).items()),
        "git commit": result.get("git_commit"),
    }
    return [(name, value) for name, value in stated.items() if value and not str(value).startswith("n/a")]


def _seeds(seeds: Sequence[int]) -> str:
    row = len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds)))
    return f"{seeds[0]} to {seeds[-1]}" if row else ", ".join(map(str, seeds))


def _range_of_counts(prompts: Mapping[str, int]) -> str:
    counts = {n for n in prompts.values() if n}
    return " to ".join(f"{n:,}" for n in sorted({min(counts), max(counts)})) if counts else ""


def files(folder: RunFolder) -> list[tuple[str, Any]]:
    """What lies in the folder, each with a link."""
    rows = []
    for path in sorted(folder.path.iterdir()):
        if path.is_file() and not path.name.startswith(".") and path != folder.report:
            what = f"{CONTENTS.get(path.name, 'file')}, {path.stat().st_size / 1000:,.1f} kB"
            rows.append((path.name, Raw(f'<a href="{escape(path.name)}">{escape(what)}</a>')))
    return rows
