"""The samples of tars, or of a `.beton`, that exist already, as columns of a manifest."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..encoding.headers import too_large
from ..formats.beton import RAW, Layout
from ..manifest import uid_of
from ..sources.classes import classes_of
from ..sources.local import Local
from ..sources.passed import PassedOver
from ..sources.readers import Ranges
from ..sources.source import key_of
from ..sources.wanted import Wanted
from ..sources.webdataset import webdataset
from ..table import FIELDS, SCHEMA
from .beton_label import label_field, labels_of
from .headers import Header, read_headers


@dataclass(frozen=True)
class Samples:
    """N samples in the order of their files."""

    files: list[Path]  # in the order of `shard`, or the .beton
    classes: tuple[str, ...]
    keys: list[str]
    source: list[str]
    label: np.ndarray  # [N] int32
    bytes: np.ndarray  # [N] int64
    shard: np.ndarray  # [N] int32, -1 = in a .beton
    offset: np.ndarray  # [N] int64, -1 = in a .beton
    beton: np.ndarray  # [N] int64, -1 = in a tar
    headers: list[Header]
    fields: np.ndarray  # [N, 2 F] int64, first byte and size of each of F further members in their tar, -1 = absent
    passed: PassedOver

    def table(self) -> pa.Table:
        """The rows of a manifest, of SCHEMA, and FIELDS if there are any."""
        columns = {
            "uid": list(map(uid_of, self.keys)),
            "key": self.keys,
            "label": self.label,
            "source": self.source,
            "height": [header.height for header in self.headers],
            "width": [header.width for header in self.headers],
            "bytes": self.bytes,
            "sha256": [header.sha256 for header in self.headers],
            "shard": self.shard,
            "offset": self.offset,
            "beton": self.beton,
        }
        if not self.fields.shape[1]:
            return pa.table(columns, schema=SCHEMA)
        columns |= {"field_offset": list(self.fields[:, 0::2]), "field_bytes": list(self.fields[:, 1::2])}
        return pa.table(columns, schema=pa.schema([*SCHEMA, *FIELDS]))


def tar_samples(root: Path, split: str, workers: int, wanted: Wanted, max_pixels: int) -> Samples:
    """The samples of the tars in folder `root`; unlabeled or labeled as webdataset reads them."""
    source = webdataset(str(root), split, wanted)
    assert isinstance(source.reader, Ranges)
    places = np.asarray(source.places)
    order = np.lexsort((places[:, 1], places[:, 0]))
    places = places[order]
    paths = [source.paths[row] for row in order.tolist()]
    return Samples(
        files=[root / name for name in source.reader.files],
        classes=source.classes,
        keys=[key_of(path) for path in paths],
        source=paths,
        label=source.label[order],
        bytes=places[:, 2],
        shard=places[:, 0].astype(np.int32),
        offset=places[:, 1],
        beton=np.full(len(places), -1),
        headers=read_headers(source.reader, places[:, :3], np.zeros(len(places), bool), workers, max_pixels),
        fields=places[:, 3:],
        passed=source.passed,
    )


def beton_samples(
    paths: list[Path], workers: int, wanted: str, max_pixels: int, passed: PassedOver | None = None
) -> Samples:
    """The samples of one or more .beton files, which have numbers for names; `wanted`: the field of their labels."""
    layout, passed, path = Layout.of(*paths), passed or PassedOver(), paths[0]
    count, raw = len(layout.where), layout.mode == RAW
    field = label_field(layout, path, wanted)
    for name in (*layout.numbers, *layout.others):
        if name != field:
            passed.add("fields other than image and label", name)
    label = labels_of(layout, path, field)
    places = np.stack([column.astype(np.int64) for column in (layout.file, layout.where, layout.size)], 1)
    reader = Ranges(Local(path.parent), tuple(p.name for p in paths))
    headers = read_headers(reader, places, raw, workers, max_pixels)
    for n in np.flatnonzero(raw).tolist():
        size = int(layout.height[n]), int(layout.width[n])
        cause = headers[n].cause or too_large(*size, max_pixels)
        headers[n] = headers[n]._replace(height=size[0], width=size[1], cause=cause)
    first = np.searchsorted(layout.file, layout.file)  # of each sample's file
    keys = [f"{paths[file].stem}/{n:08d}" for file, n in zip(layout.file, np.arange(count) - first, strict=True)]
    return Samples(
        files=paths,
        classes=classes_of(label, str(path)),
        keys=keys,
        source=keys,
        label=np.maximum(label, -1).astype(np.int32),
        bytes=places[:, 2],
        shard=np.full(count, -1, np.int32),
        offset=np.full(count, -1),
        beton=np.arange(count),
        headers=headers,
        fields=np.empty((count, 0), np.int64),
        passed=passed,
    )
