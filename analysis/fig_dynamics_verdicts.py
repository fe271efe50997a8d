"""What became of each claim of each source about training dynamics: holds, holds only if, did not hold.

    python analysis/fig_dynamics_verdicts.py outputs/*/latest verdicts.html

One page, from the claims.json of the runs; a run without one is left out. A claim that holds under a condition that
its source does not state (`only_if` of the experiment) holds only if.
"""

# %% The claims
import re
import sys
from collections import Counter
from html import escape
from pathlib import Path

import icl

OURS = "Stated or verified by the lab itself"


def paper(source):
    """Authors and year; what follows them says where in the paper, or what was verified."""
    found = re.match(r"[A-Z][^;:()]*?\b(19|20)\d\d\b", source)
    return found.group() if found else OURS


*folders, target = sys.argv[1:] if len(sys.argv) > 2 else [*sys.argv[1:], "verdicts.html"]
rows = []
for folder in folders:
    run = icl.load(folder).folder
    record = run.record("claims") if run.has("claims.json") else {"claims": []}
    rows += [(paper(claim.get("source") or ""), record["experiment"], claim) for claim in record["claims"]]

# %% The verdicts
WORDS = {"held": "✓ holds", "if": "◐ holds only if", "not": "✗ did not hold"}


def verdict(claim):
    return "not" if not claim["holds"] else "if" if claim.get("only_if") else "held"


def number(value):
    return "" if value is None else f"{value:.4g}" if isinstance(value, int | float) else str(value)


def cells(source, experiment, claim):
    kind = verdict(claim)
    why = claim.get("only_if", "") if kind == "if" else ""
    if kind == "not" and claim.get("failing_seeds"):
        why = f"{len(claim['failing_seeds'])} of {len(claim['seeds'])} seeds break it"
    if claim.get("over") == "mean" and claim.get("interval"):
        low, high = claim["interval"]
        ours = f"mean {number(claim['mean'])} [{number(low)}, {number(high)}]"
    else:
        ours = f"{number(claim['median'])}, worst {number(claim['worst'])}"
    about = (claim.get("source") or "").removeprefix(source).strip(" ,;:()")
    named = f"<td>{escape(claim['id'].replace('_', ' '))}<small>{escape(about)}</small></td>"
    texts = [claim["bound"], ours, str(len(claim["seeds"]))]
    row = f"<td>{escape(experiment.replace('_', ' '))}</td>{named}" + "".join(f"<td>{escape(t)}</td>" for t in texts)
    return f'<tr>{row}<td class="{kind}">{WORDS[kind]}<small>{escape(why)}</small></td></tr>'


# %% The page
STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 70em; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse; width: 100%; margin-bottom: 1.5em } th, td { text-align: left; padding: .3em .6em;
border-bottom: 1px solid #ddd; vertical-align: top } th { font-weight: 600; color: #555 } small { display: block;
color: #555 } .held { color: #00664b } .if { color: #8a5a00 } .not { color: #b00020 } h2 { font-size: 1.05em }
"""
HEAD = "".join(
    f"<th>{name}</th>" for name in ("Experiment", "Claim", "Bound", "Measured (median over seeds)", "Seeds", "")
)
by_source = {}
for row in rows:
    by_source.setdefault(row[0], []).append(row)
count = Counter(verdict(claim) for _, _, claim in rows)
total = ", ".join(f'<span class="{kind}">{WORDS[kind]}: {count[kind]}</span>' for kind in WORDS)
body = [f"<h1>Claims about training dynamics</h1><p>{len(rows)} claims of {len(folders)} runs. {total}</p>"]
for source in sorted(by_source, key=lambda name: (name == OURS, name)):
    body.append(f"<h2>{escape(source)}</h2><table><tr>{HEAD}</tr>")
    body += [cells(*row) for row in by_source[source]] + ["</table>"]
page = ["<!doctype html><html lang=en><meta charset=utf-8><title>Claims about training dynamics</title>"]
Path(target).write_text("\n".join([*page, f"<style>{STYLE}</style>", *body, "</html>"]) + "\n")
print(target)
