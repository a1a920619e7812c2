"""Damaged parquet tables, as the Hugging Face Hub has them."""

import io
import json
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from .source import GOOD, JPEGS, Damage, Laid, Lay, cut, garbled, written

IMAGES = [{"bytes": data, "path": name} for name, data in GOOD.items()]
LABELS = [0, 0, 0, 1, 1, 1]
NO_ROWS = {"image": pa.array([], pa.struct([("bytes", pa.binary())])), "label": pa.array([], pa.int64())}
CLASS_NAMES = ([], ["a"], ["../a", "b"], ["", ""], ["\ud800", "b"], 5, "ab", ["a\0", "b"], ["a", "a"], [None, {}])
PAGES = ("{", "[" * 100_000, '{"info": 5}', '{"info": {"features": []}}')


def table(page: Any = None, **columns: Any) -> bytes:
    """A parquet file of IMAGES and LABELS with some columns changed, None = absent; `page`: the Hub's description."""
    file = io.BytesIO()
    columns = {"image": IMAGES, "label": LABELS, **columns}
    rows = pa.table({name: column for name, column in columns.items() if column is not None})
    rows = rows.replace_schema_metadata({"huggingface": page}) if page is not None else rows
    pq.write_table(rows, file, row_group_size=2)
    return file.getvalue()


def but(**change: Any) -> list[Any]:
    """IMAGES with another fifth image."""
    return [*IMAGES[:4], {**IMAGES[4], **change}, IMAGES[5]]


def odd_columns() -> dict[str, dict[str, Any]]:
    """{case: columns}."""
    paths = pa.array([b"\xff\xfe"] * 6).cast(pa.binary())
    return {
        "null-bytes": {"image": but(bytes=None)},
        "null-row": {"image": [*IMAGES[:4], None, IMAGES[5]]},
        "null-path": {"image": but(path=None)},
        "up": {"image": but(path="..")},
        "zero": {"image": but(path="a\0b.jpg")},
        "empty": {"image": but(bytes=b"")},
        "noise": {"image": but(bytes=b"noise")},
        "null-label": {"label": [*LABELS[:5], None]},
        "label-text": {"label": ["a"] * 6},
        "label-float": {"label": [0.5] * 6},
        "label-negative": {"label": [-1, -2, -1, -1, -9, -1]},
        "label-large": {"label": pa.array([2**64 - 1] * 6, pa.uint64())},
        "label-long": {"label": [2**40] * 6},
        "no-image": {"image": None},
        "no-label": {"label": None},
        "two": {"left": IMAGES, "image": None, "right": IMAGES},
        "bytes-text": {"image": [{"bytes": "text", "path": "x"}] * 6},
        "bytes-number": {"image": [{"bytes": 5}] * 6},
        "path-number": {"image": but(path="7")},
        "path-ints": {"image": [{**image, "path": n} for n, image in enumerate(IMAGES)]},
        "path-binary": {"image": pa.StructArray.from_arrays([pa.array(JPEGS), paths], ["bytes", "path"])},
        "all-null": {"image": pa.nulls(6, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))},
    }


def parquet() -> Iterator[tuple[str, Lay]]:
    def lay(data: Damage, count: int | None, root: Path, rng: random.Random) -> Laid:
        named = ("pets.parquet", "cat/", "dog/", "0/", "1/")
        return Laid(written(root / "pets.parquet", data, rng), named, count=count)

    whole = table()
    for n in range(8):
        yield f"cut{n}", partial(lay, partial(cut, whole), 6)
    for n in range(12):
        yield f"garbled{n}", partial(lay, partial(garbled, whole, length=4), None)
    for name, columns in odd_columns().items():
        yield name, partial(lay, table(**columns), 6)
    yield "no-rows", partial(lay, table(**NO_ROWS), None)
    nameless = [{"bytes": data, "path": None} for data in JPEGS]
    for n, names in enumerate(CLASS_NAMES):
        page = json.dumps({"info": {"features": {"label": {"names": names}}}})
        yield f"names{n}", partial(lay, table(page, image=nameless), 6)
    for n, page in enumerate(PAGES):
        yield f"page{n}", partial(lay, table(page), 6)
