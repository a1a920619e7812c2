"""The frame of a page: one HTML file with its style, charts of plotly and images inside. It asks no server."""

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from viewstream.shards.errors import needs
from viewstream.shards.files import atomic, make_folder, writing
from viewstream.shards.redaction import redacted

STYLE = """
:root { --ink: #2e282a; --soft: #6f6a6c; --line: #e4e1e2; --accent: #17bebb; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1240px; padding: 1.2rem; color: var(--ink); background: #fff;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; }
h2 { font-size: 1.15rem; margin: 2rem 0 .6rem; padding-top: .6rem; border-top: 2px solid var(--accent); }
p { margin: .3rem 0; } .soft { color: var(--soft); }
.key { position: sticky; top: 0; z-index: 1; background: #fff; padding: .4rem 0; }
.key { overflow-x: auto; white-space: nowrap; }
.key span { margin-right: 1.4rem; } .key b { font-size: 1.3em; line-height: 1; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 360px), 1fr)); gap: .8rem; }
.chart { min-width: 0; height: 300px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13.5px; min-width: 40%; }
th, td { text-align: left; padding: .22rem .9rem .22rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.number { font-variant-numeric: tabular-nums; }
img { max-width: 100%; height: auto; display: block; }
.tiles { display: flex; gap: .5rem; overflow-x: auto; }
.sheets { display: flex; flex-wrap: wrap; gap: 1rem; }
.sheets .scroll { max-width: 100%; } .sheets img { max-width: none; }
.grid { flex-wrap: wrap; }
.tiles figure { margin: 0; width: 112px; flex: none; }
.tiles figcaption { font-size: 11.5px; color: var(--soft); overflow-wrap: anywhere; line-height: 1.3; padding: 2px 0; }
.tiles img { height: 96px; width: 112px; object-fit: cover; }
.same img { outline: 3px solid var(--accent); outline-offset: -3px; }
@media (max-width: 600px) { .tiles figure, .tiles img { width: 94px; } }  /* half a tile shows that more follow */
details { margin: .4rem 0; } summary { cursor: pointer; }
"""


# A chart is drawn before those beside it are there.
FIT = (
    'addEventListener("load", () => document.querySelectorAll(".js-plotly-plot").forEach(p => Plotly.Plots.resize(p)))'
)


def text(value: object) -> str:
    """A value as text of a page."""
    return html.escape(redacted(str(value)))


def table(heads: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """A table; numbers have digits of one width."""
    head = "".join(f"<th>{text(name)}</th>" for name in heads)
    lines = ("".join(_cell(value) for value in row) for row in rows)
    return (
        f'<div class="scroll"><table><tr>{head}</tr>' + "".join(f"<tr>{line}</tr>" for line in lines) + "</table></div>"
    )


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f'<td class="number">{value:.4g}</td>' if abs(value) < 1e-3 else f'<td class="number">{value:.4f}</td>'
    return f"<td>{'' if value is None else text(value)}</td>"


def section(title: str, *parts: str) -> str:
    """A part of a page below a heading; nothing without parts."""
    inside = "".join(parts)
    return f"<section><h2>{text(title)}</h2>{inside}</section>" if inside else ""


def key(colors: Mapping[str, str], about: Mapping[str, str]) -> str:
    """A line that stays in sight: the name for each color of the charts, and a few words about it."""
    parts = (
        f'<span><b style="color:{color}">●</b> {text(name)} <small class="soft">{text(about[name])}</small></span>'
        for name, color in colors.items()
    )
    return f'<div class="key">{"".join(parts)}</div>'


def folded(title: str, inside: str) -> str:
    """A part of a page that a click unfolds."""
    return f"<details><summary>{text(title)}</summary>{inside}</details>"


def charts(figures: Iterable[Any]) -> str:
    """Figures of plotly, in as many columns as fit."""
    shown = {"responsive": True, "displayModeBar": False}
    parts = [
        one.to_html(full_html=False, include_plotlyjs=False, config=shown, default_height="100%") for one in figures
    ]
    return f'<div class="charts">{"".join(f"<div class=chart>{part}</div>" for part in parts)}</div>' if parts else ""


def image(data: bytes, about: str, kind: str = "png") -> str:
    """An image inside the page."""
    return f'<img alt="{text(about)}" src="data:image/{kind};base64,{base64.b64encode(data).decode()}">'


def write_page(path: Path, title: str, about: str, sections: Iterable[str]) -> None:
    """Write a page. UserError if it cannot be written."""
    script = needs("plotly.offline").get_plotlyjs()
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{text(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<style>{STYLE}</style><script>{script}</script></head>"
        f'<body><h1>{text(title)}</h1><p class="soft">{text(about)}</p>{"".join(sections)}'
        f"<script>{FIT}</script></body></html>\n"
    )
    with writing(path):
        make_folder(path.parent)
        with atomic(path, "w") as file:
            file.write(page)
