"""All figures of a built set as a table for people; needs only numpy."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..info import ENDS, JSON, DatasetInfo
from ..manifest import Manifest
from ..sources.passed import sentences

SHOTS = (("many", "> 100"), ("medium", "20..100"), ("few", "< 20"))  # training images per class (ImageNet-LT)
WORDS = {"keep": "plain JPEGs kept as they were", "indexed": "as the files were when they were indexed"}
POINTS = (5, 25, 50, 75, 95)  # percentiles
Row = tuple[str, str]


def shots(counts: np.ndarray) -> np.ndarray:
    """[C] images per class -> [C] position in SHOTS."""
    return 2 - np.digitize(counts, (20, 101))


def table(manifest: Manifest) -> str:
    """All figures of a set, one per line."""
    info = manifest.info
    lines = [("name", info.name), ("split", info.split), ("samples", f"{len(manifest):,}")]
    lines += [*class_rows(manifest), *_bytes(manifest), *_sizes(manifest), *_origin(info)]
    return "\n".join(f"{name:>12}  {text}" for name, text in lines)


def facts(manifest: Manifest) -> JSON:
    """The same for programs: what `dataset.json` says, and sizes."""
    info, hw = manifest.info, manifest.hw
    page = {
        name: getattr(info, name) for name in ("name", "split", "samples", "subset", "encoding", "formats", "files")
    }
    page |= {"classes": dict(zip(info.classes, manifest.counts, strict=True)), "identity": manifest.identity}
    page |= {"bytes": int(manifest.bytes.sum()), "fields": info.fields}
    return page | {"height": _range(hw[:, 0]), "width": _range(hw[:, 1])}


def _range(values: np.ndarray) -> JSON:
    return {"least": int(values.min()), "median": float(np.median(values)), "most": int(values.max())}


def counted(manifest: Manifest) -> np.ndarray:
    """[C] samples of each class; unlabeled samples belong to none."""
    return np.array(manifest.counts, np.int64)


def class_rows(manifest: Manifest) -> Iterator[Row]:
    """How many classes are filled, the samples of a class, and the shares of many-, medium- and few-shot classes."""
    counts = counted(manifest)
    filled, total = counts[counts > 0], int(counts.sum())
    if total < len(manifest):
        yield "unlabeled", "all samples" if not total else f"{len(manifest) - total:,} samples"
    if not total:
        return
    yield "classes", f"{len(filled):,} filled of {len(counts):,}"
    middle = f"mean {filled.mean():,.1f}, median {np.median(filled):,.1f}"
    yield "a class", f"most {filled.max():,}, least {filled.min():,}, {middle}, total {total:,} samples"
    if manifest.info.split == "train":  # the bands are defined on training images
        for i, (name, bounds) in enumerate(SHOTS):
            own = filled[shots(filled) == i]
            share = f"{own.sum() / total:6.1%} of samples"
            text = f"{name + ' (' + bounds + ')':<16} {number_of_classes(len(own)):>13}, {share}"
            yield "shots" if not i else "", text


def _bytes(manifest: Manifest) -> Iterator[Row]:
    low, middle, high = np.percentile(manifest.bytes, (5, 50, 95))
    total, mean = _size(manifest.bytes.sum()), _size(manifest.bytes.mean())
    yield "bytes", f"{total} of images"
    yield "a sample", f"mean {mean}, median {_size(middle)}, 5 % {_size(low)}, 95 % {_size(high)}"
    for form in manifest.info.formats:
        files = manifest.bytes  # dataset.json does not list the files of a folder
        if form in ENDS:
            files = [f["bytes"] for f in manifest.info.files if f["file"].endswith(ENDS[form])]
        yield form, f"{len(files):,} file{'s' * (len(files) != 1)}, {_size(np.sum(files))}"


def _sizes(manifest: Manifest) -> Iterator[Row]:
    yield "size, px", "".join(f"{p:>5} %" for p in POINTS)
    sides = {"height": manifest.height, "width": manifest.width, "longer side": manifest.hw.max(axis=1)}
    for name, side in sides.items():
        yield name, "".join(f"{v:7,.0f}" for v in np.percentile(side, POINTS))


def _origin(info: DatasetInfo) -> Iterator[Row]:
    encoding = (WORDS.get(key) or f"{key.replace('_', ' ')} {_text(value)}" for key, value in info.encoding.items())
    yield "encoding", ", ".join(encoding)
    yield "normalised", ", ".join(f"{kind} {n:,}" for kind, n in info.report["normalised"].items()) or "0"
    for kind in ("suspect", "skipped", "missing"):
        yield kind, f"{len(info.report.get(kind, ())):,}"
    for sentence in sentences(info.report.get("passed_over", [])):
        yield "passed over", sentence
    yield "subset", info.subset["name"]
    for key, value in info.subset.items():
        if key != "name":
            yield "", f"{key} {_text(value)}"
    yield "tool", info.tool


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items())
    return "; ".join(map(_text, value)) if isinstance(value, list) else str(value)


def number_of_classes(classes: int) -> str:
    return f"{classes:,} class" + ("es" if classes != 1 else "")


def _size(number: float) -> str:
    """A number of bytes in GB, MB or KB, which are powers of ten, as for disks."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if number >= scale:
            return f"{number / scale:,.1f} {unit}"
    return f"{number:.0f} B"
