"""The report of one run: everything that its folder holds, on one page, `report.html`."""

import shlex
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from icl.atomic import write_bytes
from icl.config import ConfigError
from icl.reporting.page import Panel, code, facts, figures, folded, page, section, words
from icl.reporting.tables import claims_table, files, numbers_table, provenance
from icl.runs import Run, RunError, RunFolder


def write_report(folder: RunFolder) -> Path:
    """Draw the page from what the folder holds; a section without its data is left out.

    Raises:
        RunError: a record is there, but cannot be read.
    """
    result, comparisons, claims = (_record(folder, name) for name in ("result", "comparisons", "claims"))
    config = Run(folder).config if folder.has("config.yaml") else {}
    name = claims.get("experiment") or result.get("name") or config.get("name") or folder.id
    question = result.get("question") or config.get("question") or ""
    text = folder.text("config.yaml")
    body = [
        f"<header>\n<h1>{escape(words(name))}</h1>\n",
        f"<p>{escape(question)}</p>\n" if question else "",
        f'<p class="soft"><code>{escape(name)}</code>, run <code>{escape(folder.id)}</code></p>\n</header>\n',
        verdict(claims, result),
        section("Claims", claims_table(claims.get("claims") or [])),
        section("Figures", *drawn(folder, result, comparisons)),
        *study(result, comparisons),
        section("All numbers", numbers_table(comparisons)),
        section("How it was run", facts(provenance(result, comparisons)), again(folder, claims.get("experiment"))),
        section("Configuration", folded("config.yaml, resolved", code(text)) if text else ""),
        section("Files in the run folder", facts(files(folder))),
    ]
    write_bytes(folder.report, page(words(name), body).encode())
    return folder.report


def study(result: Mapping[str, Any], comparisons: Mapping[str, Any]) -> list[str]:
    """What only a language model has: arms beside each other, and layers."""
    if result.get("kind") != "language":
        return []
    from icl.reporting.language import arms, layers

    return [section("Arms", arms(comparisons)), section("Layers", layers(comparisons))]


def _record(folder: RunFolder, name: str) -> dict[str, Any]:
    return folder.record(name) if folder.has(f"{name}.json") else {}


def verdict(claims: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    """One box: how many claims hold, and which members diverged."""
    judged, diverged = claims.get("claims") or [], result.get("diverged") or []
    failing = [claim["id"] for claim in judged if not claim["holds"]]
    lines = []
    if judged:
        lines.append(f"<b>{'✗' if failing else '✓'} Claims hold: {len(judged) - len(failing)} of {len(judged)}</b>")
    if failing:
        lines.append(f"Failing: {escape(', '.join(failing))}")
    if diverged:
        seeds = escape(", ".join(map(str, diverged)))
        lines.append(f"<b>✗ {len(diverged)} of {len(result['seeds'])} members diverged</b> (seeds {seeds})")
    state = "bad" if failing or diverged else "good"
    return f'<div class="verdict {state}">{"<br>".join(lines)}</div>\n' if lines else ""


def drawn(folder: RunFolder, result: Mapping[str, Any], comparisons: Mapping[str, Any]) -> list[str]:
    """All figures, and a line for those that could not be drawn."""
    panels, problem = _panels(folder, result, comparisons)
    return [figures(panels), f'<p class="soft">{escape(problem)}</p>\n' if problem else ""]


def _panels(
    folder: RunFolder, result: Mapping[str, Any], comparisons: Mapping[str, Any]
) -> tuple[list[Panel | None], str]:
    from icl.reporting.figures import comparison_curve, training_curves

    weights, problem = _of_weights(folder)
    curves = (comparisons.get("curves") or {}).items()
    training = training_curves(folder.metrics(), result, exact_loss(result, comparisons))
    return [training, *weights, *(comparison_curve(key, c) for key, c in curves)], problem


def figure_pages(folder: RunFolder) -> dict[str, str]:
    """Every figure of the report as a page of its own, by its title."""
    panels, _ = _panels(folder, *(_record(folder, name) for name in ("result", "comparisons")))
    found: dict[str, str] = {}
    for panel in filter(None, panels):
        name = panel.title if panel.title not in found else f"{panel.title} ({len(found)})"
        found[name] = page(panel.title, [figures([panel])])
    return found


def exact_loss(result: Mapping[str, Any], comparisons: Mapping[str, Any]) -> list[float | None] | None:
    """The final losses in the training's unit, if the objective or a comparison is exact (asks no prompts)."""
    if ".population." in (result.get("objective") or ""):
        return result.get("final_loss")
    for key, values in (comparisons.get("numbers") or {}).items():
        at, _, name = key.rpartition("/")
        if name == result.get("loss_name") and comparisons.get("n_prompts", {}).get(at) == 0:
            return values
    return None


def _of_weights(folder: RunFolder) -> tuple[list[Panel | None], str]:
    if not (folder.has("weights.safetensors") and folder.has("config.yaml")):
        return [], ""
    from icl.reporting.preconditioner import preconditioner_figures

    run = Run(folder)
    run.config.device = "cpu"  # what another machine's accelerator trained is drawn here
    try:
        return preconditioner_figures(run), ""
    except (RunError, ConfigError) as error:
        return [], f"The weights are not drawn: {error}"


def command(folder: RunFolder, experiment: str | None = None) -> str:
    """The command line that finds this run again, or trains it where it is not."""
    typed = folder.text("overrides.txt").splitlines()
    if experiment is not None and not any(o.lstrip("+").startswith("experiment=") for o in typed):
        typed = [f"experiment={experiment}", *typed]
    return shlex.join(["scripts/lab", "train" if experiment is None else "reproduce", *typed])


def again(folder: RunFolder, experiment: str | None) -> str:
    if not folder.has("overrides.txt"):
        return ""
    return f"<p>To run it again:</p>\n{code(command(folder, experiment), wrap=True)}"
