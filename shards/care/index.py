"""A manifest for tars and a `.beton` that exist already, which stay as they are.

Loaders read the images by it as they read a set of our own; only what they could not decode alike is refused:
anything but JPEGs of one or three components. EXIF orientation is not applied, for nothing is written anew.
"""

import hashlib
from collections.abc import Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import simplejpeg
from tqdm import tqdm

from ..encoding.encode import may_turn
from ..engine import cores, in_order
from ..errors import UserError
from ..files import PAGE
from ..formats.beton import RAW, Layout
from ..formats.digest import Digest
from ..manifest import JSON, SCHEMA, DatasetInfo, Manifest, uid_of, write
from ..sources.local import Local
from ..sources.readers import Ranges
from ..sources.source import Reader, key_of
from ..sources.webdataset import webdataset

BLOCK = 256  # images a worker looks at in one go
COLOURS = ("YCbCr", "Gray", "RGB")


class Looked(NamedTuple):
    """What an image's own bytes say."""

    height: int
    width: int
    sha256: bytes
    turned: bool  # by EXIF, which readers ignore
    cause: str  # why loaders could not read it, or ""


def index(root: Path, split: str = "train", *, skip: bool = False, workers: int = 0) -> Manifest:
    """Describe the tars, or the `.beton`, or both, of folder `root`; `skip` leaves out what loaders cannot read.
    UserError when there is a description already, or nothing to describe."""
    if (root / PAGE).exists():
        raise UserError(f"{root / PAGE} describes these files already: remove it to index them anew")
    tars, betons = sorted(root.glob("*.tar")), sorted(root.glob("*.beton"))
    if not tars and not betons:
        raise UserError(f"{root} holds neither tars nor a .beton: name the folder that they lie in")
    if len(betons) > 1:
        raise UserError(f"{root} holds {len(betons)} .beton files: a set has one, move each into a folder of its own")
    rows, classes, tars = _of_tars(root, split, workers) if tars else (*_of_beton(betons[0], workers), [])
    looked: list[Looked] = rows.pop("looked")
    keep = np.array([not one.cause for one in looked])
    skipped = [{"source": rows["source"][i], "cause": looked[i].cause} for i in np.flatnonzero(~keep).tolist()]
    if skipped and (not skip or not keep.any()):
        one = skipped[0]
        raise UserError(
            f"{one['source']} cannot be read by the loaders ({one['cause']}; {len(skipped)} such): shard the images "
            "anew with build_shards.py, or leave these out with --on-error skip"
        )
    rows |= {name: [getattr(one, name) for one in looked] for name in ("height", "width", "sha256")}
    table = pa.table({name: rows[name] for name in SCHEMA.names}, schema=SCHEMA).filter(pa.array(keep))
    if tars and betons:
        table = _with_beton(table, betons[0])
    label = table["label"].to_numpy()
    turned = sum(one.turned for one in looked)
    report: JSON = {"check": "headers", "normalised": {}, "suspect": [], "skipped": skipped}
    info = DatasetInfo(
        name=root.resolve().name,
        split=split,
        subset={"name": "full", "from": "index", "split": split},
        classes=classes,
        counts=tuple(np.bincount(label, minlength=len(classes)).tolist()) if classes else (),
        samples=len(table),
        encoding={"indexed": True} | ({"turned": turned} if turned else {}),
        formats=("webdataset",) * bool(tars) + ("ffcv",) * bool(betons),
        files=tuple(_lines(root, table, tars, betons)),
        report=report,
        tool=f"viewstream {version('viewstream')}",
    )
    return write(root, info, table)


def _of_tars(root: Path, split: str, workers: int) -> tuple[dict[str, Any], tuple[str, ...], list[Path]]:
    """Columns in the order of the tars, class names, and the tars."""
    source = webdataset(str(root), split)
    assert isinstance(source.reader, Ranges)
    places = np.asarray(source.places)
    order = np.lexsort((places[:, 1], places[:, 0]))
    places = places[order]
    paths = [source.paths[row] for row in order.tolist()]
    looked = _look_at(source.reader, places, [False] * len(places), workers)
    keys = [key_of(path) for path in paths]
    rows: dict[str, Any] = {
        **{"uid": list(map(uid_of, keys)), "key": keys, "label": source.label[order], "source": paths},
        **{"bytes": places[:, 2], "shard": places[:, 0].astype(np.int32), "offset": places[:, 1]},
        **{"beton": np.full(len(places), -1), "looked": looked},
    }
    return rows, source.classes, [root / name for name in source.reader.files]


def _of_beton(path: Path, workers: int) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The same of a .beton, whose samples have numbers for names."""
    layout = Layout.of(path)
    samples = len(layout.where)
    places = np.stack([np.zeros(samples, np.int64), layout.where.astype(np.int64), layout.size.astype(np.int64)], 1)
    looked = _look_at(Ranges(Local(path.parent), (path.name,)), places, (layout.mode == RAW).tolist(), workers)
    for n in np.flatnonzero(layout.mode == RAW).tolist():
        looked[n] = looked[n]._replace(height=int(layout.height[n]), width=int(layout.width[n]))
    keys = [f"{path.stem}/{n:08d}" for n in range(samples)]
    label = layout.label.astype(np.int32)
    rows: dict[str, Any] = {
        **{"uid": list(map(uid_of, keys)), "key": keys, "label": label, "source": keys, "bytes": places[:, 2]},
        **{"shard": np.full(samples, -1, np.int32), "offset": np.full(samples, -1), "beton": np.arange(samples)},
        "looked": looked,
    }
    classes = tuple(map(str, range(int(label.max()) + 1))) if samples and label.min() >= 0 else ()
    return rows, classes


def _look_at(reader: Reader, places: np.ndarray, raw: list[bool], workers: int) -> list[Looked]:
    todo = [(places[at : at + BLOCK], raw[at : at + BLOCK]) for at in range(0, len(places), BLOCK)]
    found: list[Looked] = []
    with tqdm(total=len(places), unit="img", disable=None) as bar:
        for some in in_order(partial(_look, reader), todo, max(1, min(workers or cores(), len(todo)))):
            found += some
            bar.update(len(some))
    return found


def _look(reader: Reader, block: tuple[np.ndarray, list[bool]]) -> list[Looked]:
    done = []
    for place, raw in zip(*block, strict=True):
        height = width = 0
        data, cause = b"", ""
        try:
            data = reader.read(place)
            if not raw:
                height, width, colour, _ = simplejpeg.decode_jpeg_header(data)
                cause = "" if colour in COLOURS else f"its colors are {colour}"
        except (OSError, ValueError) as error:
            cause = str(error)
        done.append(Looked(int(height), int(width), hashlib.sha256(data).digest(), not raw and may_turn(data), cause))
    return done


def _with_beton(table: pa.Table, path: Path) -> pa.Table:
    """The same samples in a .beton beside the tars, found by their bytes."""
    rows, _ = _of_beton(path, 0)
    number = {one.sha256: n for n, one in enumerate(rows["looked"])}
    found = [number.get(sha256, -1) for sha256 in table["sha256"].to_pylist()]
    if -1 in found:
        raise UserError(
            f"{path} lacks {found.count(-1)} samples of the tars beside it: index them in folders of their own"
        )
    return table.set_column(SCHEMA.get_field_index("beton"), "beton", pa.array(found, pa.int64()))


def _lines(root: Path, table: pa.Table, tars: list[Path], betons: list[Path]) -> Iterator[JSON]:
    """What `dataset.json` says of each file; digests as in digest.py, over the samples that are in the table."""
    shard, offset, size, number = (table[name].to_numpy() for name in ("shard", "offset", "bytes", "beton"))
    for n, path in enumerate(tars):
        mine = np.flatnonzero(shard == n)
        yield _line(path, offset[mine], size[mine])
    for path in betons:
        layout = Layout.of(path)
        yield _line(path, layout.where[number].astype(np.int64), layout.size[number].astype(np.int64))


def _line(path: Path, start: np.ndarray, length: np.ndarray) -> JSON:
    order = np.argsort(start)
    with path.open("rb") as file:
        digest = Digest(file)
        samples = sum(1 for _ in digest.pictures(zip(start[order].tolist(), length[order].tolist(), strict=True)))
        whole = digest.end()
    return {"file": path.name, "bytes": path.stat().st_size, "samples": samples, "digest": whole}
