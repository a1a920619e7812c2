"""What a built set holds: its classes, sizes, encoding and origin as a table, and a picture of it with samples.

python tools/inspect_shards.py data/shards/imagenet-lt6-train
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from PIL import Image

from viewstream.shards.cli import Positional, parse, run
from viewstream.shards.errors import UserError, needs
from viewstream.shards.keyed import shuffled
from viewstream.shards.manifest import Info, Manifest
from viewstream.shards.read import open_beton, open_folder, open_tar

SHOTS = (("many", "> 100", "#17bebb"), ("medium", "20..100", "#ffc914"), ("few", "< 20", "#e4572e"))  # ImageNet-LT's
INK, PLAIN, SHADE = "#2e282a", "#5390d9", 0.13
ENDS = {"webdataset": ".tar", "ffcv": ".beton"}
WORDS = {"keep": "plain JPEGs kept as they were", "indexed": "as the files were when they were indexed"}
READERS = {"webdataset": open_tar, "folder": open_folder, "ffcv": open_beton}
POINTS = (5, 25, 50, 75, 95)  # percentiles
COLUMNS, ROWS, PITCH, TILE = 8, 5, 1.16, 220  # of the contact sheet: from row to row in tiles, a tile in px
NAMES = 24  # bars that still have room for a name
Row = tuple[str, str]


@dataclass(frozen=True)
class Inspect:
    """Which set, and what to show of it"""

    dir: Annotated[Path, "folder of a built set", Positional] = Path()
    picture: Annotated[bool, "draw classes, sizes and samples, which needs matplotlib"] = True
    png: Annotated[Path | None, "where to draw them (DIR/inspect.png)"] = None


def shots(counts: np.ndarray) -> np.ndarray:
    """[C] pictures a class -> [C] position in SHOTS."""
    return 2 - np.digitize(counts, (20, 101))


def table(manifest: Manifest) -> str:
    """All figures, a line each."""
    info = manifest.info
    lines = [("name", info.name), ("split", info.split), ("samples", f"{len(manifest):,}")]
    lines += [*_classes(manifest), *_bytes(manifest), *_sizes(manifest), *_origin(info)]
    return "\n".join(f"{name:>12}  {text}" for name, text in lines)


def counted(manifest: Manifest) -> np.ndarray:
    """[C] samples of each class; the unlabelled belong to none."""
    return np.bincount(manifest.label[manifest.label >= 0], minlength=len(manifest.info.classes))


def _classes(manifest: Manifest) -> Iterator[Row]:
    counts = counted(manifest)
    filled, total = counts[counts > 0], int(counts.sum())
    if total < len(manifest):
        yield "unlabelled", "all samples" if not total else f"{len(manifest) - total:,} samples"
    if not total:
        return
    yield "classes", f"{len(filled):,} filled of {len(counts):,}"
    middle = f"mean {filled.mean():,.1f}, median {np.median(filled):,.1f}"
    yield "a class", f"most {filled.max():,}, least {filled.min():,}, {middle}, total {total:,} samples"
    if manifest.info.split == "train":  # the bands are of training pictures a class
        for i, (name, bounds, _) in enumerate(SHOTS):
            own = filled[shots(filled) == i]
            text = f"{name + ' (' + bounds + ')':<16} {_number(len(own)):>13}, {own.sum() / total:6.1%} of samples"
            yield "shots" if not i else "", text


def _bytes(manifest: Manifest) -> Iterator[Row]:
    low, middle, high = np.percentile(manifest.bytes, (5, 50, 95))
    total, mean = _size(manifest.bytes.sum()), _size(manifest.bytes.mean())
    yield "bytes", f"{total} of pictures"
    yield "a sample", f"mean {mean}, median {_size(middle)}, 5 % {_size(low)}, 95 % {_size(high)}"
    for form in manifest.info.formats:
        files = manifest.bytes  # of a folder, whose files dataset.json does not list
        if form in ENDS:
            files = [f["bytes"] for f in manifest.info.files if f["file"].endswith(ENDS[form])]
        yield form, f"{len(files):,} file{'s' * (len(files) != 1)}, {_size(np.sum(files))}"


def _sizes(manifest: Manifest) -> Iterator[Row]:
    yield "size, px", "".join(f"{p:>5} %" for p in POINTS)
    sides = {"height": manifest.height, "width": manifest.width, "longer side": manifest.hw.max(axis=1)}
    for name, side in sides.items():
        yield name, "".join(f"{v:7,.0f}" for v in np.percentile(side, POINTS))


def _origin(info: Info) -> Iterator[Row]:
    how = (WORDS.get(key) or f"{key.replace('_', ' ')} {value}" for key, value in info.encoding.items())
    yield "encoding", ", ".join(how)
    yield "normalised", ", ".join(f"{kind} {n:,}" for kind, n in info.report["normalised"].items()) or "0"
    for kind in ("suspect", "skipped", "missing"):
        yield kind, f"{len(info.report.get(kind, ())):,}"
    yield "subset", info.subset["name"]
    for key, value in info.subset.items():
        if key != "name":
            yield "", f"{key} {_said(value)}"
    yield "tool", info.tool


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_said(one)}" for key, one in value.items())
    return "; ".join(map(_said, value)) if isinstance(value, list) else str(value)


def _number(classes: int) -> str:
    return f"{classes:,} class" + ("es" if classes != 1 else "")


def _short(name: str) -> str:
    return name if len(name) <= 16 else f"{name[:15]}…"


def _size(number: float) -> str:
    """Powers of ten, as disks are sold."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if number >= scale:
            return f"{number / scale:,.1f} {unit}"
    return f"{number:.0f} B"


def chosen(manifest: Manifest, number: int) -> np.ndarray:
    """Rows to show, the largest classes first: the first of every class in a keyed order of all, then the second..."""
    order = shuffled(manifest.uid, 0, "inspect")
    label = manifest.label[order]
    grouped = np.argsort(label, kind="stable")
    begins = np.flatnonzero(np.diff(label[grouped], prepend=-2))  # where a class begins among the grouped
    place = np.empty(len(order), np.int64)
    place[grouped] = np.arange(len(order)) - np.repeat(begins, np.diff(begins, append=len(order)))
    rows = order[np.argsort(place, kind="stable")[:number]]
    counts = np.append(counted(manifest), 0)  # the last is for label -1
    return rows[np.lexsort((manifest.label[rows], -counts[manifest.label[rows]]))]


def draw(manifest: Manifest, png: Path) -> None:
    """Class histogram, sizes and a contact sheet, as one PNG."""
    counts, info = counted(manifest), manifest.info
    rows = chosen(manifest, COLUMNS * ROWS)
    height = -(-len(rows) // COLUMNS) * 12 / COLUMNS * PITCH
    figure = needs("matplotlib.figure").Figure(figsize=(12, 4.4 + height), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=(4.4, height))
    upper.suptitle(f"{info.name}: {len(manifest):,} samples", color=INK, fontweight="bold")
    if counts.any():
        left, right = upper.subplots(1, 2, width_ratios=(1.9, 1))
        _class_panel(left, manifest, counts)
    else:
        right = upper.subplots()
    _size_panel(right, manifest)
    _sheet_panel(lower.subplots(), manifest, rows, counts)
    try:
        png.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(png, dpi=120)
    except OSError as error:
        raise UserError(f"{png} cannot be written ({error.strerror}): name another file with --png") from None


def _class_panel(axes: Any, manifest: Manifest, counts: np.ndarray) -> None:
    """Samples a class from the largest class to the smallest, in bands of many, medium and few shots."""
    order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    tall = counts[order]
    bands = [(shots(tall) == i, f"{name} ({bounds})", colour) for i, (name, bounds, colour) in enumerate(SHOTS)]
    if manifest.info.split != "train":
        bands = [(tall > 0, "", PLAIN)]
    for band, label, colour in bands:
        if band.any():
            first, end = np.flatnonzero(band)[[0, -1]] + (0, 1)
            share = f"{label}: {_number(band.sum())}, {tall[band].sum() / tall.sum():.0%} of samples"
            axes.stairs(tall[band], np.arange(first, end + 1), fill=True, color=colour, label=share)
            axes.axvspan(first, end, color=colour, alpha=SHADE, linewidth=0)
    axes.set(xlim=(0, len(tall)), xlabel="classes, largest first", ylabel="samples")
    if tall[0] > 10 * tall[-1]:
        axes.set(yscale="log", ylim=(0.7 * tall[-1], 1.3 * tall[0]))
    else:
        axes.set_ylim(0, 1.35 * tall[0])  # room for the legend over bars of one height
        axes.yaxis.get_major_locator().set_params(integer=True)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    each = f"{tall[0]:,}" if tall[0] == tall[-1] else f"{tall[-1]:,} to {tall[0]:,}"
    axes.set_title(f"{len(tall):,} of {len(counts):,} classes filled, samples in each: {each}")
    if len(tall) <= NAMES:
        axes.vlines(np.arange(1, len(tall)), *axes.get_ylim(), color="white", linewidth=3)
        names = [_short(manifest.info.classes[c]) for c in order]
        axes.set_xticks(np.arange(len(tall)) + 0.5, names, rotation=45, ha="right")
    if bands[0][1]:
        axes.legend(loc="upper right", frameon=True, framealpha=0.9, edgecolor="none")


def _size_panel(axes: Any, manifest: Manifest) -> None:
    """How many pictures of which width and height; the few very large ones lie on the edge."""
    limit = float(np.percentile(manifest.hw.max(axis=1), 99.5)) * 1.05
    sizes, times = np.unique(manifest.hw, axis=0, return_counts=True)
    (height, width), most = sizes[times.argmax()], times.max() / len(manifest)
    y, x = np.minimum(manifest.hw, limit).T
    edges = np.linspace(0, limit, 50)
    image = axes.hist2d(x, y, bins=(edges, edges), cmin=1, vmin=1, norm="log", cmap="viridis_r")[3]
    axes.plot((0, limit), (0, limit), color=INK, linewidth=0.6, linestyle=":")
    cut = " (larger ones lie on the edge)" if manifest.hw.max() > limit else ""
    axes.set(aspect="equal", xlabel=f"width, px{cut}", ylabel="height, px")
    axes.set_title(f"most often {width} × {height} px ({most:.0%})")
    scale = axes.figure.colorbar(image, ax=axes, label="samples", format="{x:,.0f}", shrink=0.8)
    scale.ax.yaxis.set_minor_formatter("{x:,.0f}" if image.norm.vmax < 10 else "")


def _sheet_panel(axes: Any, manifest: Manifest, rows: np.ndarray, counts: np.ndarray) -> None:
    """Whole pictures, each on its class's name."""
    reader = next(READERS[form] for form in READERS if form in manifest.info.formats)(manifest)
    for n, row in enumerate(rows.tolist()):
        tile, label = _tile(manifest, reader.read(row), row), int(manifest.label[row])
        x, y = n % COLUMNS + 0.5, n // COLUMNS * PITCH + 0.97
        wide, high = (0.94 * side / max(tile.size) for side in tile.size)
        axes.imshow(tile, extent=(x - wide / 2, x + wide / 2, y, y - high))
        if label >= 0:
            name = f"{_short(manifest.info.classes[label])} · {counts[label]:,}"
            axes.text(x, y + 0.02, name, ha="center", va="top", fontsize=7.5, color=INK)
    reader.close()
    axes.set(xlim=(0, COLUMNS), ylim=(-(-len(rows) // COLUMNS) * PITCH, 0), aspect="equal")
    axes.axis("off")


def _tile(manifest: Manifest, data: bytes | np.ndarray, row: int) -> Image.Image:
    try:
        image = Image.fromarray(data) if isinstance(data, np.ndarray) else Image.open(io.BytesIO(data))
        image.thumbnail((TILE, TILE))
    except OSError as error:
        remedy = f"`python tools/verify_shards.py {manifest.root} --repair` mends it"
        raise UserError(f"sample {row} ({manifest.keys[row]}) is damaged ({error}): {remedy}") from None
    return image.convert("RGB")


def main() -> None:
    (options,) = parse(Inspect(), about=__doc__ or "")
    png = options.png or options.dir / "inspect.png"
    if png.suffix.lower() != ".png":
        raise UserError(f"--png {png} is no PNG: give it a name that ends with .png")
    manifest = Manifest.open(options.dir)
    print(table(manifest), flush=True)
    if options.picture:
        draw(manifest, png)
        print(f"{'picture':>12}  {png}")


if __name__ == "__main__":
    run(main)
