"""Records of a run folder as plain columns and rows, the shape that a W&B table has."""

from collections.abc import Mapping, Sequence
from typing import Any

CLAIM_COLUMNS = ("id", "metric", "bound", "source", "source_value", "worst", "median", "min", "max", "holds")
JOB_COLUMNS = ("folder", "status", "overrides")
MOST_ROWS = 10_000  # of one table; W&B shows no more

Table = tuple[Sequence[str], list[list[Any]]]


def claims(record: Mapping[str, Any]) -> Table:
    """claims.json, one row a claim; as text, for a source's value may be a number or words."""
    return CLAIM_COLUMNS, [[_cell(claim.get(column)) for column in CLAIM_COLUMNS] for claim in record["claims"]]


def jobs(record: Mapping[str, Any]) -> Table:
    """sweep.json, one row a job."""
    rows = [[job["folder"], job["status"], " ".join(job["overrides"])] for job in record["jobs"]]
    return JOB_COLUMNS, rows


def curve(drawn: Mapping[str, Any], seeds: Sequence[int]) -> Table:
    """A curve of comparisons.json, one row a point: whose it is, x, y, or for a map x, y, value.

    Curves of more than 10,000 points keep every k-th of each series.
    """
    if drawn["kind"] == "map":
        columns = (drawn["x_label"] or "x", drawn["y_label"] or "y", "value")
        rows = [
            [_cell(x), _cell(y), value]
            for y, row in zip(drawn["y"], drawn["model"])
            for x, value in zip(drawn["x"], row)
        ]
        return _apart(columns), rows[:: -(-len(rows) // MOST_ROWS) or 1]
    columns = ("series", drawn["x_label"] or "x", drawn["y_label"] or "y")
    of = dict(zip((f"seed_{seed}" for seed in seeds), drawn["model"]))
    for i, row in enumerate(drawn["reference"]):
        of[
            drawn["reference_label"] if len(drawn["reference"]) == 1 else f"{drawn['reference_label']} seed_{seeds[i]}"
        ] = row
    n_points = max((len(row) for row in of.values()), default=0)
    every = -(-len(of) * n_points // MOST_ROWS) or 1
    scatter = drawn["kind"] == "scatter"
    rows = []
    for i, (name, row) in enumerate(of.items()):
        x = drawn["x"][i] if scatter else drawn["x"]
        rows += [[name, at, value] for at, value in list(zip(x, row))[::every]]
    return _apart(columns), rows


def _apart(columns: Sequence[str]) -> Sequence[str]:
    """Names of columns that differ."""
    return [name if name not in columns[:i] else f"{name} ({i})" for i, name in enumerate(columns)]


def _cell(value: Any) -> str | None:
    return None if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
