"""The report of a sweep: what finished, all curves, the swept axes, a table, and the best setting."""

import os
import shlex
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from icl.atomic import write_bytes
from icl.reporting.page import Raw, code, figures, number, page, section, table, words
from icl.reporting.report import command
from icl.reporting.swept import SweptRun, read_runs
from icl.runs import RunFolder

TABLE_ROWS = 200
MEMBER_PAGE = "<!DOCTYPE html><!-- a member of a sweep -->"  # the head of a page that another sweep may overwrite
MEMBER_CSS = ":root{color-scheme:light dark}body{font:1rem/1.5 system-ui,sans-serif;margin:2rem auto;max-width:40rem;\
padding:0 1rem}pre{white-space:pre-wrap;overflow-wrap:anywhere}"


def write_sweep_report(folder: Path, runs: list[RunFolder], axes: list[str]) -> Path:
    """Draw `folder`/report.html for `runs`, whose configurations differ in the keys `axes`."""
    from icl.reporting.sweep_figures import all_curves, over_axes

    read = read_runs(runs, axes)
    name = next((run.result["name"] for run in read if run.result.get("name")), folder.name)
    along = ", ".join(axes) or "nothing"
    body = [
        f"<header>\n<h1>{escape(words(name))}: a sweep</h1>\n",
        f"<p>{len(read):,} runs over <code>{escape(along)}</code></p>\n</header>\n",
        _state(read),
        section("Figures", figures([all_curves(read, axes), over_axes(read, axes)])),
        section("The lowest loss", *_best(read, axes)),
        section("Runs", *_runs(folder, read, axes)),
    ]
    target = folder / "report.html"
    write_bytes(target, page(f"{words(name)}: a sweep", body).encode())
    return target


def write_member_page(folder: RunFolder, sweep_report: Path) -> None:
    """A small page in a member's folder that leads to the sweep's; a report that was drawn is left alone."""
    if folder.has("report.html") and not folder.text("report.html").startswith(MEMBER_PAGE):
        return
    link = escape(os.path.relpath(sweep_report, folder.path))
    own = escape(shlex.join(["scripts/lab", "report", str(folder.path)]))
    folder.report.write_text(
        f'{MEMBER_PAGE}\n<html lang="en">\n<head><meta charset="utf-8"><title>{escape(folder.id)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{MEMBER_CSS}</style></head>\n<body><p>This run is a part of a sweep: "
        f'<a href="{link}">the report of the sweep</a>.</p>\n<p>To draw its own:</p>\n<pre>{own}</pre>'
        "</body></html>\n",
        encoding="utf-8",
    )


def _state(read: Sequence[SweptRun]) -> str:
    members = sum(run.members for run in read)
    finished = sum(run.members for run in read if run.finished)
    diverged = sum(len(run.diverged) for run in read)
    lines = [f"<b>{finished:,} of {members:,} members finished</b>"]
    lines += [f"{members - finished:,} unfinished"] if finished < members else []
    lines += [f"<b>{diverged:,} diverged</b> (named in the table)"] if diverged else ["none diverged"]
    state = "bad" if diverged or finished < members else "good"
    return f'<div class="verdict {state}">{", ".join(lines)}</div>\n'


def _best(read: Sequence[SweptRun], swept: Sequence[str]) -> list[str]:
    """The setting with the lowest median over its members; one that diverged counts as infinite.

    Seeds are pooled: the luckiest seed is no finding.
    """
    keys = [key for key in swept if key != "seed"]
    settings: dict[tuple[str, ...], list[SweptRun]] = {}
    for run in read:
        if run.losses.size:
            settings.setdefault(tuple(run.values[key] for key in keys), []).append(run)
    if not settings:
        return []
    pooled = {setting: np.concatenate([run.losses for run in runs]) for setting, runs in settings.items()}
    best = min(pooled, key=lambda setting: float(np.median(pooled[setting])))
    losses = pooled[best]
    who = f"<code>{escape(' '.join(map('='.join, zip(keys, best))))}</code>" if keys else "Over all seeds"
    middle, low, high = (number(float(f(losses)), 5) for f in (np.median, np.min, np.max))
    say = f"<p>{who}: median {middle} over {losses.size:,} members, from {low} to {high}.</p>\n"
    return [say, code(command(settings[best][0].folder), wrap=True)]


def _runs(folder: Path, read: Sequence[SweptRun], swept: Sequence[str]) -> list[str]:
    ordered = sorted(read, key=lambda run: float(np.median(run.losses)) if run.losses.size else np.inf)
    columns = (*swept, "Members", "Median loss", "Lowest", "Highest", "State", "Folder")
    rows = [_row(folder, run, swept) for run in ordered[:TABLE_ROWS]]
    which = f"the {TABLE_ROWS} lowest of {len(read):,}" if len(read) > TABLE_ROWS else f"all {len(read):,}"
    say = f'<p class="soft">Final losses over the members of a run, lowest first: {which} runs.</p>\n'
    return [say, table(columns, rows, numeric=range(len(columns) - 2))]


def _row(folder: Path, run: SweptRun, swept: Sequence[str]) -> list[object]:
    loss = run.losses
    spread = [number(float(f(loss)), 5) if loss.size else "n/a" for f in (np.median, np.min, np.max)]
    state = "finished" if run.finished else "unfinished"
    state += f", diverged: seeds {', '.join(map(str, run.diverged))}" if run.diverged else ""
    target = os.path.relpath(run.folder.report if run.folder.has("report.html") else run.folder.path, folder)
    there = run.folder.path.exists()
    link = Raw(f'<a href="{escape(target)}">{escape(run.folder.id)}</a>') if there else run.folder.id
    return [*(run.values[key] for key in swept), run.members, *spread, state, link]
