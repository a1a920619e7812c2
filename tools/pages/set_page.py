"""The page about a set: classes, sizes, samples, views, provenance, and whether its files are as they were built."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from viewstream.pipeline.readers.fetch import RemoteStore
from viewstream.pipeline.readers.ranged import few
from viewstream.shards.care.figures import class_rows, counted
from viewstream.shards.care.verify import verify
from viewstream.shards.errors import installed
from viewstream.shards.formats.reader import SampleReader
from viewstream.shards.manifest import Manifest
from viewstream.tools.inspect_sheet import parts_of, rows_to_show
from viewstream.tools.pages import charts
from viewstream.tools.pages.page import charts as row_of_charts
from viewstream.tools.pages.page import folded, section, table, text, write_page
from viewstream.tools.pages.tiles import tile

CLASSES, EACH, FEW = 12, 7, 4  # classes that are shown, samples of each, samples of a small class
IMAGES, EPOCHS, SIDE = 3, 3, 96  # images, epochs and px of the views


def write_set_page(data: Manifest, path: Path, *, views: str, check: bool) -> None:
    """Write the page. `views`: the recipe whose views are shown; `check`: read all files and compare their digests."""
    info = data.info
    about = f"{len(data):,} samples in {len(info.classes):,} classes, {info.split}; {', '.join(info.formats)}"
    sections = [
        section("Classes and sizes", row_of_charts(_charts(data)), *_classes(data)),
        section("Samples", *_samples(data)),
        *_views(data, views),
        section("Provenance", table(("", ""), _facts(data))),
        section("Files", _verified(data) if check else "", table(("file", "samples", "bytes", "digest"), _files(data))),
    ]
    write_page(path, info.name, about, sections)


def _charts(data: Manifest) -> list[object]:
    counts, names = counted(data), data.info.classes
    made = []
    if counts.any():
        order = np.argsort(-counts, kind="stable")
        tall, shown = counts[order].tolist(), [names[c] for c in order]
        wide = bool(tall[0] > 10 * max(1, tall[-1]))
        made.append(charts.bars("samples by class", tall, shown, "classes, largest first", "samples", log=wide))
    areas, edges = np.histogram(np.sqrt(data.hw.astype(float).prod(axis=1)), bins=30)
    middles = ((edges[:-1] + edges[1:]) / 2).tolist()
    made.append(charts.histogram("sizes", middles, areas.tolist(), "square root of width x height, px", "samples"))
    kilobytes, edges = np.histogram(data.bytes / 1e3, bins=30)
    middles = ((edges[:-1] + edges[1:]) / 2).tolist()
    made.append(charts.histogram("bytes", middles, kilobytes.tolist(), "kB of an image", "samples"))
    return made


def _classes(data: Manifest) -> Iterator[str]:
    """What inspect prints about classes, and a list of all of them that unfolds."""
    yield table(("", ""), class_rows(data))
    counts, names = counted(data), data.info.classes
    if len(names):
        lines = [(names[c], f"{counts[c]:,}") for c in np.argsort(-counts, kind="stable").tolist()]
        yield folded("all classes and their samples", table(("class", "samples"), lines))


def _samples(data: Manifest) -> Iterator[str]:
    """One line for each of some classes, the largest, the middle and the smallest; a grid where no class has more than
    a few samples."""
    counts = counted(data)
    with few(data) as reader:
        if counts.max(initial=0) < FEW:
            tiles = (_tile(data, reader, row, named=True) for row in rows_to_show(data, CLASSES * EACH).tolist())
            yield f'<div class="tiles grid">{"".join(tiles)}</div>'
            return
        for c in np.concatenate(parts_of(counts, CLASSES))[:CLASSES].tolist():
            tiles = (_tile(data, reader, row) for row in np.flatnonzero(data.label == c)[:EACH].tolist())
            yield f'<p>{text(data.info.classes[c])}: {counts[c]:,}</p><div class="tiles">{"".join(tiles)}</div>'


def _tile(data: Manifest, reader: SampleReader, row: int, *, named: bool = False) -> str:
    """A sample, with the name of its class if that is asked for."""
    label = int(data.label[row])
    name = data.info.classes[label] if label >= 0 else "unlabeled"
    return tile(reader.read(row), data.key(row), name if named else "")


def _views(data: Manifest, recipe: str) -> list[str]:
    """A sheet of views for each of some epochs; none without torch."""
    if not installed("torch"):
        return []
    from viewstream.tools.pages.views import drawn_rows, views_blocks

    rows = drawn_rows(data, IMAGES)
    sheets = []
    for epoch in range(EPOCHS):
        sheet = views_blocks(data, recipe, SIDE, seed=0, epoch=epoch, rows=rows, about=f"views of epoch {epoch}")
        sheets.append(f"<p>epoch {epoch}</p>{sheet}")
    return [section(f"Views of the recipe {recipe}", *sheets)]


def _facts(data: Manifest) -> Iterator[tuple[str, object]]:
    info = data.info
    yield "where", data.root
    yield "identity", data.identity
    yield from info.subset.items()
    yield from info.encoding.items()
    for kind, rows in info.report.items():
        yield kind, len(rows) if isinstance(rows, list) else rows


def _files(data: Manifest) -> Iterator[tuple[object, ...]]:
    for line in data.info.files:
        yield line["file"], line["samples"], f"{line['bytes']:,}", str(line["digest"])[:16]


def _verified(data: Manifest) -> str:
    damages = verify(data, files=RemoteStore(data.url) if data.url else None)
    if not damages:
        return "<p>All files are as they were built: every byte was read and compared with its digest.</p>"
    return "".join(f"<p>{text(damage.file)}: {text(damage.cause)}</p>" for damage in damages)
