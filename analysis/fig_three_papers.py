"""A page that puts the numbers of three papers beside ours: Dai et al., Deutch et al., Shen et al.

    python analysis/fig_three_papers.py outputs/A/latest [outputs/B/latest ...] page.html

Each folder is a study (word sentiment, SST-2, ...); a cell is the mean over its seeds and the range, at the learning
rate that its validation queries chose. The papers' models are ten times larger, so levels need not agree; signs and
orders might.
"""

# %% The studies
import html
import sys
from pathlib import Path

import numpy as np

import icl

*folders, target = sys.argv[1:]
studies = [icl.load(folder) for folder in folders]

# %% (paper, what it says, its numbers, where ours stands: the end of a key of comparisons.json)
ROWS = [
    ("Dai 2022", "accuracy (ours calibrated), zero-shot", "0.705 (SST-2, 1.3B)", "probes/icl/zero_shot"),
    ("Dai 2022", "accuracy, in context", "0.927 (SST-2, 1.3B)", "probes/icl/icl"),
    ("Dai 2022", "accuracy, finetuned", "0.739 (SST-2, 1.3B)", "gd/predictions/accuracy"),
    ("Dai 2022", "imbalance of the queries", "not told", "probes/icl/imbalance"),
    ("Dai 2022", "Rec2FTP", "0.918 (SST-2); 0.856 (mean of six tasks)", "gd/predictions/rec2ftp"),
    ("Dai 2022", "SimAOU, normalised", "0.110 (SST-2); 0.186 (mean)", "gd/updates/sim_aou_normalised"),
    ("Dai 2022", "SimAOU against random", "0.002", "gd/updates/gaussian"),
    ("Dai 2022", "SimAM before finetuning", "0.555 (SST-2); 0.338 (mean)", "gd/attention/sim_am_before"),
    ("Dai 2022", "SimAM after finetuning", "0.585 (SST-2); 0.442 (mean)", "gd/attention/sim_am_after"),
    ("Dai 2022", "Kendall's τ", "0.192 (SST-2); 0.193 (mean)", "gd/attention/kendall"),
    ("Deutch 2023", "SimAOU, GD", "0.05 (SST-2); 0.102 (mean)", "gd/updates/sim_aou"),
    ("Deutch 2023", "SimAOU, untrained", "0.09 (SST-2)", "untrained/updates/sim_aou"),
    ("Deutch 2023", "SimAOU, trained embeddings", "0.11 (SST-2)", "embeddings/updates/sim_aou"),
    ("Deutch 2023", "SimAM-delta, GD", "0.15 (SST-2); 0.267 (mean)", "gd/attention/sim_am_delta"),
    ("Deutch 2023", "SimAM-delta, untrained", "0.11 (SST-2)", "untrained/attention/sim_am_delta"),
    ("Deutch 2023", "SimAM-delta, trained embeddings", "0.09 (SST-2)", "embeddings/attention/sim_am_delta"),
    ("Deutch 2023", "SimAOU, LCGD, equal rate", "0.13 (SST-2); 0.167 (mean)", "lcgd/updates/sim_aou"),
    ("Deutch 2023", "SimAM-delta, LCGD, equal rate", "0.30 (SST-2); 0.336 (mean)", "lcgd/attention/sim_am_delta"),
    ("Deutch 2023", "SimAOU, LCGD, matched a layer", "not in the paper", "lcgd_layer/updates/sim_aou"),
    ("Deutch 2023", "SimAM-delta, LCGD, matched a layer", "not in the paper", "lcgd_layer/attention/sim_am_delta"),
    ("Shen 2023", "order sensitivity, in context", "0.10 to 0.15 (7B)", "sequential/order/icl"),
    ("Shen 2023", "order sensitivity, GD, least rate", "0.01 to 0.02 (7B)", "sequential/order/reference_least"),
    ("Shen 2023", "order sensitivity, GD, largest rate", "0.01 to 0.02 (7B)", "sequential/order/reference_most"),
    ("Shen 2023", "order sensitivity, full batch", "0 (theorem)", "full_batch/order/reference_most"),
    ("Shen 2023", "TokenOverlap, ICL and GD", "below ICL in another order", "gd/predictions/token_overlap"),
    ("Shen 2023", "TokenOverlap, ICL in another order", "the ceiling", "ceiling/predictions/token_overlap"),
]


def shown(value: float) -> str:
    return f"{value:.3f}" if value == 0 or abs(value) >= 0.001 else f"{value:.1e}"


def cell(values: list[float | None] | None) -> str:
    """`0.343`, and below it `0.310 … 0.370` over seeds."""
    known = [v for v in values or [] if v is not None]
    if not known:
        return ""
    spread = f"<small>{shown(min(known))} … {shown(max(known))}</small>" if len(known) > 1 else ""
    return shown(float(np.mean(known))) + spread


def heading(study: icl.runs.Run) -> str:
    """`word sentiment`, and below it how much of it was asked, and by which experiment."""
    task = study.config.task
    words = task.get("lexicon") or task.get("words")
    name = (
        "word sentiment"
        if words
        else Path(task.get("hub_config") or task.get("path") or task.hub).name.replace("_", " ")
    )
    seeds = len(study.result["seeds"])
    about = f"{task.n_demos} demonstrations, {task.n_queries} queries, {seeds} seed{'s' * (seeds > 1)}"
    return f"{html.escape(name)}<small>{about}<br>{html.escape(study.config.name.replace('_', ' '))}</small>"


# %% The page: a section a paper, a column a study
PAPERS = {
    "Dai 2022": "Dai et al. 2022, Why can GPT learn in-context?",
    "Deutch 2023": "Deutch et al. 2023, In-context learning and gradient descent revisited",
    "Shen 2023": "Shen et al. 2023, Do pretrained transformers learn in-context by gradient descent?",
}
numbers = [study.folder.record("comparisons")["numbers"] for study in studies]
head = "".join(f"<th>{text}</th>" for text in ("", "the paper's", *map(heading, studies)))
lines = []
for paper, title in PAPERS.items():
    rows = [(what, theirs, [cell(found.get(key)) for found in numbers]) for p, what, theirs, key in ROWS if p == paper]
    rows = [row for row in rows if any(row[2])]
    if rows:
        lines.append(f'<tr><th colspan="{2 + len(studies)}" class="paper">{html.escape(title)}</th></tr>')
    for what, theirs, ours in rows:
        texts = (html.escape(what), html.escape(theirs).replace("; ", "<br>"), *ours)
        lines.append("<tr>" + "".join(f"<td>{text}</td>" for text in texts) + "</tr>")
STYLE = (
    "body{font:15px/1.4 system-ui,sans-serif;margin:2rem auto;padding:0 1.5rem;width:max-content;max-width:96vw}"
    "table{border-collapse:collapse}td,th{border-bottom:1px solid #ddd;padding:.25rem 1.2rem .25rem 0;text-align:left;"
    "vertical-align:top;font-variant-numeric:tabular-nums}th{vertical-align:bottom}"
    ".paper{padding-top:1.2rem;border-bottom:1px solid #555}small{color:#666;display:block;font-weight:normal}"
    "td small{white-space:nowrap}th small{max-width:11rem}"
)
model = html.escape(", ".join(dict.fromkeys(study.config.model.name for study in studies)))
page = (
    '<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>Three papers beside ours</title>'
    f"<style>{STYLE}</style>"
    f"<h1>Three papers beside ours</h1><p>Ours: {model}; the mean over seeds, and below it their range.</p>"
    f"<table><tr>{head}</tr>{''.join(lines)}</table></html>\n"
)
Path(target).write_text(page)
print(target)
