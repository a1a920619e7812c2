"""The samples that a figure or a page of a set shows, and their contact sheet."""

import io
from typing import Any

import numpy as np
from PIL import Image

from viewstream.pipeline.readers.ranged import few
from viewstream.shards.care.figures import counted
from viewstream.shards.errors import UserError
from viewstream.shards.keyed import shuffled
from viewstream.shards.manifest import Manifest

INK = "#2e282a"
COLUMNS, SAMPLES, CLASSES = 8, 40, 24  # tiles of a line, of a sheet at most, and classes that all have tiles
HEADS = ("largest classes", "middle classes", "smallest classes")
PITCH, HEAD, TILE = 1.16, 0.3, 220  # height of a line and of its heading in tiles, side of a tile in px
CAPTION = 21  # letters that fit below a tile
Line = tuple[str, np.ndarray]  # a heading, or none, and at most COLUMNS rows of the manifest


def parts_of(counts: np.ndarray, number: int = CLASSES) -> list[np.ndarray]:
    """Classes to show of those with samples, from the largest to the smallest: all of them in one part, or `number` in
    three parts, from the head, the middle and the tail. Classes of one size have no head: as many of them as fit."""
    order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    if len(order) <= number or counts[order[0]] == counts[order[-1]]:
        return [order]
    third, middle = number // 3, len(order) // 2
    return [order[:third], order[middle - third // 2 :][:third], order[-third:]]


def rows_to_show(manifest: Manifest, number: int, classes: np.ndarray | None = None) -> np.ndarray:
    """`number` manifest rows of all or some classes, the largest classes first.

    Rows are in a keyed order; the first row of every class is taken, then the second of every class, and so on.
    """
    order = shuffled(manifest.uid, 0, "inspect")
    if classes is not None:
        order = order[np.isin(manifest.label[order], classes)]
    label = manifest.label[order]
    grouped = np.argsort(label, kind="stable")
    begins = np.flatnonzero(np.diff(label[grouped], prepend=-2))  # where each class begins in `grouped`
    place = np.empty(len(order), np.int64)  # of a row within its class
    place[grouped] = np.arange(len(order)) - np.repeat(begins, np.diff(begins, append=len(order)))
    rows = order[np.argsort(place, kind="stable")[:number]]
    counts = np.append(counted(manifest), 0)  # the last is for label -1
    return rows[np.lexsort((manifest.label[rows], -counts[manifest.label[rows]]))]


def lines_to_show(manifest: Manifest) -> list[Line]:
    """The lines of the sheet: of many classes, two lines each of the largest, the middle and the smallest ones."""
    parts, lines = parts_of(counted(manifest)), list[Line]()
    for name, part in zip(HEADS, parts, strict=False):
        whole = len(parts) == 1
        rows = rows_to_show(manifest, SAMPLES) if whole else rows_to_show(manifest, 2 * COLUMNS, part)
        starts = range(0, len(rows), COLUMNS)
        lines += [("" if whole or start else name, rows[start : start + COLUMNS]) for start in starts]
    return lines


def height_of(lines: list[Line]) -> float:
    """The height of a sheet, in tiles."""
    return sum(PITCH + HEAD * bool(name) for name, _ in lines)


def sheet_panel(axes: Any, manifest: Manifest, lines: list[Line]) -> None:
    """Whole images, with the name and size of their class below them."""
    reader, counts, bottom = few(manifest), counted(manifest), 0.0
    reader.prefetch(iter([rows for _, rows in lines]))
    for name, rows in lines:
        if name:
            axes.text(0.03, bottom + 0.1, name, va="top", fontsize=9.5, color=INK, fontweight="bold")
        bottom += PITCH + HEAD * bool(name)
        for n, row in enumerate(rows.tolist()):
            tile, label = fitted(manifest, reader.read(row), row), int(manifest.label[row])
            x, y = n + 0.5, bottom - PITCH + 0.97
            wide, high = (0.94 * side / max(tile.size) for side in tile.size)
            axes.imshow(tile, extent=(x - wide / 2, x + wide / 2, y, y - high))
            if label >= 0:
                size = f" · {counts[label]:,}"
                caption = short(manifest.info.classes[label], CAPTION - len(size)) + size
                axes.text(x, y + 0.02, caption, ha="center", va="top", fontsize=7.5, color=INK)
    reader.close()
    axes.set(xlim=(0, COLUMNS), ylim=(bottom, 0), aspect="equal")
    axes.axis("off")


def fitted(manifest: Manifest, data: bytes | np.ndarray, row: int) -> Image.Image:
    """An image that fits into TILE px. UserError names a damaged one."""
    try:
        image = Image.fromarray(data) if isinstance(data, np.ndarray) else Image.open(io.BytesIO(data))
        image.thumbnail((TILE, TILE))
    except OSError as error:
        raise UserError(f"sample {row} ({manifest.key(row)}) is damaged ({error}): {manifest.repair()}") from error
    return image.convert("RGB")


def short(name: str, letters: int = 18) -> str:
    """A name of at most so many letters, in which matplotlib sees no formula."""
    return (name if len(name) <= letters else f"{name[: letters - 1]}…").replace("$", r"\$")
