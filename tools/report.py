"""A page about one run, or about several side by side: curves, speed, views, neighbors, results, configuration.

python tools/report.py runs/moco
python tools/report.py runs/moco runs/byol --out report.html
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from viewstream.shards.cli import Positional, parse, run
from viewstream.shards.errors import UserError, installed, needs
from viewstream.tools.compare import compared
from viewstream.tools.pages import charts
from viewstream.tools.pages.page import charts as row_of_charts
from viewstream.tools.pages.page import folded, key, section, table, text, write_page
from viewstream.tools.run_files import RunFiles, read_alike

STAGES = ("read", "decode", "cut", "draw", "wait", "copy", "render")
PER_CLASS = "per_class.parquet"


@dataclass(frozen=True)
class Report:
    """Which runs"""

    runs: Annotated[tuple[Path, ...], "folders of runs", Positional] = ()
    out: Annotated[Path | None, "HTML file to write (report.html in the folder of the first run)"] = None
    images: Annotated[bool, "show views, and neighbors of images by the features of last.pt"] = True
    data: Annotated[str, "where the training set lies now (as in the configuration)"] = ""


def curves(found: list[RunFiles]) -> str:
    """Loss, rate, and what was measured between epochs."""
    runs = [one.name for one in found]
    names = ["loss", "lr", *dict.fromkeys(name for one in found for name in one.measured())]
    made = []
    for name in names:
        points = {one.name: one.column(name) for one in found}
        points = {run: both for run, both in points.items() if both[0]}
        if points:
            flat = len({value for _, up in points.values() for value in up}) == 1
            made.append(charts.lines(name, points, runs, dots=name not in ("loss", "lr"), zero=flat or name == "lr"))
    return row_of_charts(made)


def speed(found: list[RunFiles]) -> str:
    """Images/s, the share of time that steps waited, and where the loader spent its time."""
    made = []
    for name, title in (("img_s", "images per second"), ("wait", "share of time waiting for data")):
        points = {one.name: one.column(name) for one in found}
        if any(x for x, _ in points.values()):
            made.append(charts.lines(title, points, [*points], zero=True))
    for one in found:
        parts = {stage: one.column(f"{stage}_ms") for stage in STAGES}
        parts = {stage: both for stage, both in parts.items() if any(both[1])}
        if parts:
            title = "loader time" if len(found) == 1 else f"loader time of {one.name}"
            made.append(charts.areas(title, parts, "optimizer step", "ms per image, all threads"))
    return row_of_charts(made)


def by_frequency(found: list[RunFiles]) -> str:
    """Accuracy of each class over its number of training images, of runs whose classifier was measured."""
    import pyarrow.parquet as pq

    tables = {one.name: pq.read_table(one.folder / PER_CLASS) for one in found if (one.folder / PER_CLASS).exists()}
    if not tables:
        return ""
    columns = {name: [t[c].to_pylist() for c in ("train_images", "top1")] for name, t in tables.items()}
    points = {name: (x, y) for name, (x, y) in columns.items()}
    names = next(iter(tables.values()))["class"].to_pylist()
    runs = [one.name for one in found]
    chart = charts.dots("accuracy by class frequency", points, runs, "training images", "top-1", names, log=True)
    return row_of_charts([chart])


def pictures(one: RunFiles, options: Report) -> list[str]:
    """A sheet of views, and neighbors; a line instead if what they need is not there."""
    from viewstream.pipeline.choose import open_set
    from viewstream.tools.pages.views import IMAGES, drawn_rows, neighbors, views_blocks

    recipe, last = one.recipe, one.folder / "last.pt"
    try:
        data = open_set(options.data or str(one.config.get("data", "")))
        rows, shown = drawn_rows(data, IMAGES), f"views {recipe['views']} of {recipe['size']} px, epoch 0"
        drawn = {"seed": recipe["seed"], "epoch": 0, "rows": rows, "about": shown}
        sheet = views_blocks(data, recipe["views"], recipe["size"], **drawn)
        parts = [section(f"Views of {one.name}", f'<p class="soft">{text(shown)}</p>', sheet)]
        if last.exists():
            about = "The first image of a line, and those whose features are nearest; marked: of the same class."
            lines = neighbors(str(last), data, {"data": str(data.root)})
            parts.append(section(f"Neighbors by {one.name}", f'<p class="soft">{about}</p>', *lines))
        return parts
    except (UserError, OSError, KeyError) as error:
        return [section(f"Views of {one.name}", f'<p class="soft">left out: {text(error)}</p>')]


def facts(found: list[RunFiles]) -> list[str]:
    """Results, configuration and environment."""
    lines = compared(found)
    heads = ["", *(one.name for one in found)]
    parts = [
        section("Runs" if len(found) == 1 else "Runs side by side", table(heads, [[k, *v] for k, v in lines.items()]))
    ]
    for title, part in (("Configuration: what decides the numbers", "recipe"), ("Where it ran and how fast", "run")):
        pages = [one.config.get(part, {}) for one in found]
        names = [*dict.fromkeys(name for page in pages for name in page)]
        parts.append(folded(title, table(heads, [[n, *(_plain(page.get(n)) for page in pages)] for n in names])))
    pages = [_flat(one.config.get("environment", {})) for one in found]
    names = [*dict.fromkeys(name for page in pages for name in page)]
    parts.append(
        folded("Environment", table(heads, [[n, *(page.get(n) for page in pages)] for n in names])) if names else ""
    )
    return parts


def _plain(value: Any) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, list) else value


def _flat(page: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in page.items() if k != "versions"} | page.get("versions", {})


def main() -> None:
    (options,) = parse(Report(), description=__doc__ or "")
    needs("plotly")
    found = read_alike(options.runs)
    if repeated := [one.name for one in found if sum(other.name == one.name for other in found) > 1]:
        raise UserError(f"two runs are called {repeated[0]}: give their folders different names")
    sections = [section("Training", curves(found)), section("Speed", speed(found))]
    sections.append(section("Classes", by_frequency(found)))
    if options.images and installed("torch"):
        sections += [part for one in found for part in pictures(one, options)]
    sections += facts(found)
    out = options.out or options.runs[0] / "report.html"
    about = {one.name: f"{one.recipe.get('method')}, {one.recipe.get('arch')}" for one in found}
    first, *others = about
    if others:
        sections.insert(0, key(charts.colors([*about]), about))
    rest = f" and {others[0] if len(others) == 1 else f'{len(others)} others'}" if others else ""
    write_page(out, first + rest, f"{len(found)} runs" if others else about[first], sections)
    print(f"written to {out}, {out.stat().st_size / 1e6:.1f} MB: one file, for any browser")


if __name__ == "__main__":
    run(main)
