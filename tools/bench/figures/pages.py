"""What the suite writes from its figures: charts, the tables of docs/performance.md, and the README's section."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from viewstream.shards.files import atomic
from viewstream.tools.bench.figures.charts import draw_flat, draw_groups
from viewstream.tools.bench.figures.check import Results, ours, strongest
from viewstream.tools.bench.figures.section import section
from viewstream.tools.bench.measuring.rounds import quartiles, ratio

TITLES = {
    "loader": "Loaders",
    "threads": "Many threads, with sleep in place of decoding and cropping",
    "draw": "Draws and color work",
    "step": "Training steps on a CPU",
    "build": "Building",
    "start": "Start",
    "scale": "Many rows",
    "flat": "Longer runs, larger sets",
    "stage": "Staging",
    "costs": "Costs of the stages on one thread",
}
NAMES = {"README.md": "speed", "docs/performance.md": "tables"}  # page -> what is written into it


def write_pages(out: Path, root: Path | None) -> None:
    """Charts into `out`, and the generated parts of the pages under `root`; without it, table.md beside the charts."""
    parts = saved(out)
    for part, results in parts.items():
        if part == "flat":
            draw_flat(_sound(results), out / "flat.png")
        elif groups := {name: group for name, group in _sound(results).items() if group.get("floor")}:
            draw_groups(groups, out / f"{part}.png")
    if not root:
        _write(out / "table.md", tables(parts) + "\n")
        return
    for page, text in generated(parts).items():
        _write(root / page, replaced((root / page).read_text(), NAMES[page], text))


def generated(parts: Mapping[str, Results]) -> dict[str, str]:
    """The text between the markers of each page."""
    return {"README.md": section(parts), "docs/performance.md": tables(parts)}


def saved(out: Path) -> dict[str, Results]:
    """The figures of each part that `out` has, without those of make bench-check."""
    found = {part: out / f"{part}.json" for part in TITLES}
    return {part: json.loads(path.read_text()) for part, path in found.items() if path.exists()}


def between(text: str, name: str) -> str:
    """What stands between the markers of a page."""
    return _pattern(name).search(text)[2]  # pyright: ignore[reportOptionalSubscript]


def replaced(text: str, name: str, body: str) -> str:
    """`text` with `body` between its markers."""
    return _pattern(name).sub(lambda found: f"{found[1]}\n{body}\n{found[3]}", text)


def tables(parts: Mapping[str, Results]) -> str:
    """Every group of every part as a table, and what was left out."""
    text: list[str] = []
    for part, results in parts.items():
        text += [f"## {TITLES[part]}", f"`make bench PART={part}`{_on(_sound(results))}"]
        if any(group.get("floor") for group in results.values()):
            text += [f"![{TITLES[part]}: speed as a share of the floor](results/cpu/{part}.png)"]
        plain = {name: group for name, group in _sound(results).items() if "unit" not in group}
        if part == "flat" and plain:
            text += ["![Processor time and memory by tenths of a run](results/cpu/flat.png)", _flat(plain)]
        elif plain:
            text += [
                _lines(
                    [["", "seconds", "MiB"], *([n, f"{g['seconds']:.3f}", f"{g['MiB']:.0f}"] for n, g in plain.items())]
                )
            ]
        for name, group in _sound(results).items():
            if "unit" in group:
                text += [f"**{name}**" + "".join(_settings(group)), _lines(list(_rows(group)))]
                text += [f"* {peer} is left out: {why}" for peer, why in group.get("left_out", {}).items()]
        text += [f"* {name} has failed: {group['error']}" for name, group in results.items() if "error" in group]
    return "\n\n".join(text)


def _rows(group: Mapping[str, Any]) -> Iterator[list[str]]:
    """Costs of each case in us per unit, and its speed as a share of that of the floor."""
    floor, peer, mine = group["floor"], strongest(group), ours(group)
    head = ["", f"processor us per {group['unit']}", f"wall us per {group['unit']}"]
    yield head + ["of the floor (quartiles)", "wall"] * bool(floor) + [f"times as fast as {peer}"] * bool(peer)
    for name in group["cpu"]:
        cells = [f"**{name}**" if floor and name in mine else name]
        cells += [_number(quartiles(group[clock][name])[1]) for clock in ("cpu", "wall")]
        if floor:
            low, share, high = ratio(group, floor, name)
            cells += [f"{share:.2f} ({low:.2f}-{high:.2f})", f"{ratio(group, floor, name, 'wall')[1]:.2f}"]
        if peer:
            cells += [f"{ratio(group, peer, name)[1]:.2f}"]
        yield cells


def _flat(runs: Results) -> str:
    """First and last tenths of each run."""
    head = ["", "samples", "us of processor time per sample, by tenths", "MiB, by tenths"]
    rows = [
        [n, f"{r['samples']:,}", *(" ".join(f"{v:.0f}" for v in r[k]) for k in ("cpu", "MiB"))] for n, r in runs.items()
    ]
    return _lines([head, *rows])


def _settings(group: Mapping[str, Any]) -> Iterator[str]:
    if "threads" in group:
        yield f", {group['threads']} thread{'s' * (group['threads'] > 1)}"
    if "threads_of_peers" in group:
        yield f" (other programs {group['threads_of_peers']})"
    if "images" in group:
        yield f", {group['images']}"


def _on(results: Results) -> str:
    """Machine and code of the first group, and how much of the cores other programs took."""
    if not results:
        return ""
    on = next(iter(results.values()))["on"]
    others = max(group["on"]["others"] for group in results.values())
    return f": {on['cores']} cores of {on['cpu']}, Python {on['python']}, torch {on['versions']['torch']}, commit " + (
        f"{on['commit']}; other programs took up to {others:.0%} of the cores"
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _lines(rows: list[list[str]]) -> str:
    head, *body = rows
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *body))


def _sound(results: Results) -> Results:
    return {name: group for name, group in results.items() if "error" not in group}


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {name}: written by make bench -->)(.*?)(<!-- end of {name} -->)", re.DOTALL)


def _write(path: Path, text: str) -> None:
    with atomic(path, "w") as file:
        file.write(text)
