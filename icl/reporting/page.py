"""The page: HTML and CSS of a report, one self-contained file for screen, phone and print."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

CSS = """
:root { color-scheme: light dark;
  --paper: #fff; --ink: #1a1d21; --soft: #565d66; --line: #d5d9de; --card: #f6f7f9; --link: #0b5cad;
  --model: #0072b2; --other: #c8500a; --third: #00805f; --fourth: #a84b83; --fifth: #94700a; --sixth: #2f7fb5;
  --good: #0a6b3d; --bad: #ad2310; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #15181c; --ink: #e8eaed; --soft: #a3abb5; --line: #3a4048; --card: #1e2227; --link: #7db8f0;
  --model: #56b4e9; --other: #f0843c; --third: #35c79b; --fourth: #e08fbe; --fifth: #e6b93a; --sixth: #9ccbea;
  --good: #5fd39a; --bad: #ff8a75; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 69rem;
  background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; text-wrap: balance; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .7rem; padding-bottom: .2rem;
  border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 0 0 .6rem; }
p { margin: .4rem 0; max-width: 48rem; }
a { color: var(--link); }
.soft, figcaption { color: var(--soft); }
.verdict { margin: 1rem 0; padding: .6rem .9rem; border-left: .35rem solid; background: var(--card); }
.verdict.good { border-color: var(--good); }
.verdict.bad { border-color: var(--bad); }
.good b, b.good { color: var(--good); }
.bad b, b.bad { color: var(--bad); }
.figures { display: grid; gap: 2rem 2.5rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 29rem), 1fr)); }
figure { margin: 0; break-inside: avoid; }
figcaption { font-size: .9rem; margin-top: .3rem; }
svg { display: block; width: 100%; max-width: 34rem; height: auto; overflow: visible; }
svg text { fill: var(--ink); }
table { border-collapse: collapse; width: 100%; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; overflow-wrap: break-word;
  padding: .4rem .7rem .4rem 0; border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--soft); }
td small { display: block; color: var(--soft); }
td.number { white-space: nowrap; }
table.facts { width: auto; }
table.facts td { overflow-wrap: anywhere; }
table.facts td:first-child { color: var(--soft); white-space: nowrap; }
code, pre { font: .88em/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
pre { background: var(--card); padding: .7rem .9rem; margin: .5rem 0; overflow-x: auto; }
pre.wrap { white-space: pre-wrap; overflow-wrap: anywhere; }
summary { cursor: pointer; color: var(--link); padding: .2rem 0; }
@media (max-width: 44rem) {
  code { overflow-wrap: anywhere; }
  table.cards thead { position: absolute; clip-path: inset(50%); height: 1px; overflow: hidden; }
  table.cards tr { display: block; padding: .6rem 0; border-bottom: 1px solid var(--line); }
  table.cards td { display: grid; grid-template-columns: 7rem 1fr; gap: .6rem; border: 0; padding: .1rem 0; }
  table.cards td::before { content: attr(data-label); color: var(--soft); }
  td.number { white-space: normal; }
}
@media print {
  :root { color-scheme: light;
    --paper: #fff; --ink: #000; --soft: #444; --line: #ccc; --card: #fff; --link: #000;
    --model: #0072b2; --other: #c8500a; --third: #00805f; --fourth: #a84b83; --fifth: #94700a;
    --sixth: #2f7fb5; --good: #0a6b3d; --bad: #ad2310; }
  body { padding: 0; max-width: none; font-size: 10pt; }
  .figures { grid-template-columns: 1fr 1fr; gap: 1rem 1.5rem; }
  h2, h3 { break-after: avoid; }
  tr { break-inside: avoid; }
  details::details-content { content-visibility: visible; height: auto; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; border: 1px solid var(--line); }
}
"""


@dataclass(frozen=True)
class Raw:
    """HTML that is already safe; everything else that reaches the page is escaped."""

    html: str


@dataclass(frozen=True)
class Panel:
    """One figure: a heading, an inline SVG, and the sentence that says what to see in it."""

    title: str
    svg: str
    caption: str


def text(value: Any) -> str:
    return value.html if isinstance(value, Raw) else escape(str(value))


def page(title: str, body: Iterable[str]) -> str:
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n{''.join(body)}</body>\n</html>\n"
    )


def section(title: str, *body: str) -> str:
    """A heading and what belongs to it, or nothing when there is nothing."""
    inner = "".join(body)
    return f"<section>\n<h2>{escape(title)}</h2>\n{inner}</section>\n" if inner else ""


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, numeric: Sequence[int] = ()) -> str:
    """A table that becomes one card a row on a phone; columns in `numeric` do not break their lines."""
    kinds = ["number" if i in numeric else "text" for i in range(len(columns))]
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = []
    for row in rows:
        cells = "".join(
            f'<td data-label="{escape(column)}" class="{kind}"><div>{text(cell)}</div></td>'
            for column, kind, cell in zip(columns, kinds, row, strict=True)
        )
        body.append(f"<tr>{cells}</tr>\n")
    lines = "".join(body)
    return f'<table class="cards">\n<thead><tr>{head}</tr></thead>\n<tbody>\n{lines}</tbody>\n</table>\n'


def facts(rows: Iterable[tuple[str, Any]]) -> str:
    """Two columns: a name and a value."""
    lines = "".join(f"<tr><td>{escape(name)}</td><td>{text(value)}</td></tr>\n" for name, value in rows)
    return f'<table class="facts">\n<tbody>\n{lines}</tbody>\n</table>\n' if lines else ""


def figures(panels: Iterable[Panel | None]) -> str:
    drawn = "".join(
        f"<figure>\n<h3>{escape(panel.title)}</h3>\n{panel.svg}\n"
        f"<figcaption>{escape(panel.caption).replace(' %', '&nbsp;%')}</figcaption>\n</figure>\n"
        for panel in panels
        if panel is not None
    )
    return f'<div class="figures">\n{drawn}</div>\n' if drawn else ""


def folded(summary: str, inner: str) -> str:
    return f"<details>\n<summary>{escape(summary)}</summary>\n{inner}</details>\n"


def code(content: str, *, wrap: bool = False) -> str:
    kind = "wrap" if wrap else "lines"
    return f'<pre class="{kind}">{escape(content)}</pre>\n'


def breakable(name: str) -> str:
    """A long name as code that may break after its slashes, and on a phone wherever it must."""
    return f"<code>{escape(name).replace('/', '/<wbr>')}</code>"


def number(value: Any, digits: int = 4) -> str:
    """Significant digits without the noise of a float; a value that is missing or not a number says so."""
    if value is None or value != value:
        return "n/a"
    if isinstance(value, str):
        return value
    if abs(value) >= 1000 and float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:.{digits}g}"


def measured(value: float | None) -> str:
    """A number among its like in a table: five digits, and no more than five decimals."""
    if value is None or value != value:
        return "n/a"
    return f"{value:.2g}" if 0 < abs(value) < 1e-3 else number(round(value, 5), 5)


def words(name: str) -> str:
    """`one_layer_is_one_gd_step` as a title."""
    spelled = {"gd": "GD", "icl": "ICL", "cot": "CoT", "relu": "ReLU", "lr": "learning rate"}
    parts = [spelled.get(part, part) for part in name.split("_") if part]
    return " ".join([parts[0][:1].upper() + parts[0][1:], *parts[1:]]) if parts else name
