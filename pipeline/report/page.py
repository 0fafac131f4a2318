"""The page: one HTML file that needs no server and no network."""

from collections.abc import Sequence
from html import escape

from pipeline.report.plots import SavedPlot

READABLE = 1.1  # pixels a point of a figure at least: its smallest letters have 8 points
STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --muted: #59636e; --box: #dcebf5; --plain: #eceff2; --paper: #fff;
  --line: #d5dae0; --link: #0063a8 }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e8ee; --muted: #9aa6b2; --box: #23394a; --plain: #2c333b;
  --paper: #16191d; --line: #363e47; --link: #6cb8f0 } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 60rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; overflow-wrap: anywhere }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem } h2 { font-size: 1.25rem; margin: 2.6rem 0 .4rem }
p { margin: .4rem 0 .8rem } a { color: var(--link) } .muted { color: var(--muted) }
nav a { margin-right: .9rem; white-space: nowrap }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .7rem; margin: 1.2rem 0 }
.card { border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .8rem }
.card b { display: block; font-size: 1.35rem; line-height: 1.3 } .card span { color: var(--muted); font-size: .88rem }
.wide { overflow-x: auto } .wide svg { display: block; width: 100%; min-width: var(--least); height: auto }
.side { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(17rem, 100%), 1fr)); gap: 1.2rem }
.side svg { display: block; width: 100%; height: auto } figure { margin: .6rem 0 1.4rem }
svg text { font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif !important }
figcaption { color: var(--muted); font-size: .92rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; overflow-wrap: normal }
th, td { text-align: left; padding: .28rem .9rem .28rem 0; border-bottom: 1px solid var(--line); vertical-align: top }
td.number, th.number { text-align: right } tr.ours td { font-weight: 600; background: var(--box) }
pre { overflow-x: auto; background: var(--plain); padding: .7rem .9rem; border-radius: .5rem; font-size: .85rem }
"""


def page(title: str, subtitle: str, sections: Sequence[tuple[str, str]]) -> str:
    """A whole page. Sections are (heading, HTML); the first has no heading of its own in the table of contents."""
    links = "".join(f'<a href="#part-{n}">{escape(name)}</a>' for n, (name, _) in enumerate(sections) if n)
    parts = "".join(
        (f'<section id="part-{n}"><h2>{escape(name)}</h2>{html}</section>' if n else html)
        for n, (name, html) in enumerate(sections)
    )
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>{escape(title)}</title><style>{STYLE}</style></head><body>'
        f'<h1>{escape(title)}</h1><p class="muted">{escape(subtitle)}</p><nav>{links}</nav>{parts}</body></html>\n'
    )


def cards(figures: Sequence[tuple[str, str]]) -> str:
    """Figures that are seen first: (value, what it is)."""
    boxes = [f'<div class="card"><b>{escape(value)}</b><span>{escape(name)}</span></div>' for value, name in figures]
    return f'<div class="cards">{"".join(boxes)}</div>'


def paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def preformatted(text: str) -> str:
    return f"<pre>{escape(text)}</pre>"


def figure(saved: SavedPlot, *, wide: bool = True) -> str:
    """A plot with its caption and its files. Wide ones are scrolled on narrow screens, so that text stays readable."""
    links = ", ".join(f'<a href="{path.name}">{path.suffix[1:].upper()}</a>' for path in saved.files)
    picture = saved.svg
    if wide:
        least = f"{READABLE * 72 * saved.plot.figure.get_size_inches()[0]:.0f}px"
        picture = f'<div class="wide" style="--least: {least}">{picture}</div>'
    return f"<figure>{picture}<figcaption>{escape(saved.plot.caption)} ({links})</figcaption></figure>"


def side_by_side(parts: Sequence[str]) -> str:
    return f'<div class="side">{"".join(parts)}</div>'


def html_table(names: Sequence[str], rows: Sequence[Sequence[str]], ours: Sequence[Sequence[str]] = ()) -> str:
    """A table; `ours` are rows that stand out. Columns of numbers are set to the right."""
    every = [*rows, *ours]
    numbers = [all(row[n][:1].isdigit() or row[n] in ("–", "") for row in every) for n in range(len(names))]
    marks = [' class="number"' if number else "" for number in numbers]
    head = "".join(f"<th{mark}>{escape(name)}</th>" for mark, name in zip(marks, names, strict=True))
    body = ""
    for index, row in enumerate(every):
        cells = "".join(f"<td{mark}>{escape(cell)}</td>" for mark, cell in zip(marks, row, strict=True))
        body += f'<tr class="ours">{cells}</tr>' if index >= len(rows) else f"<tr>{cells}</tr>"
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
