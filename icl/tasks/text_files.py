"""Reading labelled text: JSON lines in a folder, or a set of the hub through `datasets`."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

ROWS = "'text' (or the fields of the template) and 'label', the label word"


def jsonl_rows(folder: str, split: str, fields: Sequence[str], labels: Sequence[str] | None) -> list[dict[str, Any]]:
    """The rows of FOLDER/SPLIT.jsonl.

    Raises:
        ValueError: the file is missing, or a line of it lacks a field or has an unknown label: file and line are named.
    """
    path = Path(folder).expanduser() / f"{split}.jsonl"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ValueError(f"path={folder}: {path} cannot be read ({error.strerror}); each line holds {ROWS}") from None
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: not valid JSON ({error})") from None
        for field in (*fields, "label"):
            if not isinstance(row, dict) or not isinstance(row.get(field), str):
                raise ValueError(f"{path}, line {number}: the field {field!r} is missing or no text (needed: {ROWS})")
        if labels is not None and row["label"] not in labels:
            raise ValueError(f"{path}, line {number}: label {row['label']!r} is none of {', '.join(labels)}")
        rows.append(row)
    return rows


@lru_cache(maxsize=8)
def _loaded(hub: str, config: str | None, split: str) -> Any:
    from datasets import load_dataset

    return load_dataset(hub, config, split=split)


def hub_rows(
    hub: str, config: str | None, split: str, names: Mapping[str, str], fields: Sequence[str], labels: Sequence[str]
) -> list[dict[str, Any]]:
    """The rows of a set of the hub, its class i called labels[i].

    Raises:
        ValueError: the hub does not answer, or the set lacks a column.
    """
    try:
        data = _loaded(hub, config, split)
    except (OSError, ValueError, RuntimeError) as error:  # datasets raises one of these for no net and for no set
        raise ValueError(
            f"hub={hub!r} ({split}) cannot be loaded; without a net point task.path at a folder with train.jsonl and "
            f"validation.jsonl, where each line holds {ROWS}"
        ) from error
    columns = {field: names.get(field, field) for field in (*fields, "label")}
    if missing := [column for column in columns.values() if column not in data.column_names]:
        raise ValueError(f"hub={hub!r} has no column {missing[0]!r} (it has: {', '.join(data.column_names)})")
    return [
        {field: row[column] for field, column in columns.items() if field != "label"}
        | {"label": labels[row[columns["label"]]]}
        for row in data
        if row[columns["label"]] >= 0  # the hub marks a hidden label with -1
    ]
