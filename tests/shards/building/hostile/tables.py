"""Damaged tables: SEED's TSV with its line index, and parquet as the Hub has it."""

import base64
import io
import json
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .source import GOOD, JPEGS, Laid, Lay, Spoilt, cut, garbled, written

LABELS = (b"cat", b"1.5", b"-1", b"-9", b"", b"10000000", b"9" * 25, b"9" * 5000, b"\xff", b"1e3", b"nan", b"0x1")
NO_ROWS = {"image": pa.array([], pa.struct([("bytes", pa.binary())])), "label": pa.array([], pa.int64())}


def tsv() -> Iterator[tuple[str, Lay]]:
    rows = [
        (name.partition("/")[2].encode(), b"%d" % name.startswith("dog"), base64.b64encode(d))
        for name, d in GOOD.items()
    ]
    lines = [b"\t".join(row) for row in rows]
    whole = b"\n".join(lines) + b"\n"
    key, label, data = rows[4]

    def lay(data: Spoilt, count: int | None, root: Path, rng: random.Random) -> Laid:
        return Laid(written(root / "pets.tsv", data, rng), "pets.tsv|dog|cat", count=count)

    def indexed(index: bytes, root: Path, rng: random.Random) -> Laid:
        (root / "pets.lineidx").write_bytes(index)
        return lay(whole, 6, root, rng)

    odd = {
        "base64": b"\t".join((key, label, b"*" + data)), "padding": b"\t".join((key, label, data[:-1])),
        "nothing": b"\t".join((key, label, b"")), "columns": key + b"\t" + label, "one": key, "blank": b"",
        "extra": b"\t".join((key, label, b"0.5", b"x" * 99_000, data)),
        "far": b"\t".join((key, b" " * 70_000 + label, data)),
        "latin": b"\t".join((b"\xff", label, data)), "zero": b"\t".join((b"a\0b", label, data)),
        "up": b"\t".join((b"../x", label, data)), "slash": b"\t".join((b"/x", label, data)),
        "empty-key": b"\t".join((b"", label, data)), "spaces": b"\t".join((b"  ", label, data)),
        "twice": b"\t".join((rows[3][0], label, data)), "return": b"\t".join((key, label, data)) + b"\r",
        "picture": b"\t".join((key, label, base64.b64encode(b"none"))),
    }  # fmt: skip
    odd |= {f"label-{n}": b"\t".join((key, word, data)) for n, word in enumerate(LABELS)}
    for name, line in odd.items():
        yield name, partial(lay, b"\n".join([*lines[:4], line, lines[5]]), 6)
    for n in range(8):
        yield f"cut{n}", partial(lay, partial(cut, whole, first=1), None)
        yield f"garbled{n}", partial(lay, partial(garbled, whole), None)
    yield "noise", partial(lay, lambda rng: rng.randbytes(5000), None)
    starts = np.cumsum([0, *(len(line) + 1 for line in lines)])[:-1].tolist()
    for name, some in {
        "skips": starts[:2] + starts[3:], "short": starts[:3], "inside": [0, 9, *starts[2:]], "first": starts[1:],
        "negative": [-1, *starts[1:]], "beyond": [*starts, 10**9], "backwards": starts[::-1], "large": [0, 10**30],
    }.items():  # fmt: skip
        yield f"index-{name}", partial(indexed, b"".join(b"%d\n" % s for s in some))
    for n, index in enumerate((b"", b"\xff\0", b"zero\n", b"9" * 5000)):
        yield f"index{n}", partial(indexed, index)


def parquet() -> Iterator[tuple[str, Lay]]:
    image = [{"bytes": data, "path": name} for name, data in GOOD.items()]
    label = [0, 0, 0, 1, 1, 1]

    def made(page: Any = None, **columns: Any) -> bytes:
        file = io.BytesIO()
        table = pa.table({name: c for name, c in {"image": image, "label": label, **columns}.items() if c is not None})
        table = table.replace_schema_metadata({"huggingface": page}) if page is not None else table
        pq.write_table(table, file, row_group_size=2)
        return file.getvalue()

    def lay(data: Spoilt, count: int | None, root: Path, rng: random.Random) -> Laid:
        return Laid(written(root / "pets.parquet", data, rng), "pets.parquet|dog|cat|1/|0/", count=count)

    whole = made()
    for n in range(8):
        yield f"cut{n}", partial(lay, partial(cut, whole), 6)
    for n in range(12):
        yield f"garbled{n}", partial(lay, partial(garbled, whole, most=4), None)

    def but(**change: Any) -> list[Any]:
        return [*image[:4], {**image[4], **change}, image[5]]

    paths = pa.array([b"\xff\xfe"] * 6).cast(pa.binary())
    odd: dict[str, dict[str, Any]] = {
        "null-bytes": {"image": but(bytes=None)}, "null-row": {"image": [*image[:4], None, image[5]]},
        "null-path": {"image": but(path=None)}, "up": {"image": but(path="..")},
        "zero": {"image": but(path="a\0b.jpg")},
        "empty": {"image": but(bytes=b"")}, "noise": {"image": but(bytes=b"noise")},
        "null-label": {"label": [*label[:5], None]},
        "label-text": {"label": ["a"] * 6}, "label-float": {"label": [0.5] * 6},
        "label-negative": {"label": [-1, -2, -1, -1, -9, -1]},
        "label-large": {"label": pa.array([2**64 - 1] * 6, pa.uint64())}, "label-long": {"label": [2**40] * 6},
        "no-picture": {"image": None}, "no-label": {"label": None},
        "two": {"left": image, "image": None, "right": image},
        "bytes-text": {"image": [{"bytes": "text", "path": "x"}] * 6}, "bytes-number": {"image": [{"bytes": 5}] * 6},
        "path-number": {"image": but(path="7")},
        "path-ints": {"image": [{**one, "path": n} for n, one in enumerate(image)]},
        "path-binary": {"image": pa.StructArray.from_arrays([pa.array(JPEGS), paths], ["bytes", "path"])},
        "all-null": {"image": pa.nulls(6, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))},
    }  # fmt: skip
    for name, columns in odd.items():
        yield name, partial(lay, made(**columns), 6)
    yield "no-rows", partial(lay, made(**NO_ROWS), None)
    nameless = [{"bytes": data, "path": None} for data in JPEGS]
    for n, names in enumerate(
        ([], ["a"], ["../a", "b"], ["", ""], ["\ud800", "b"], 5, "ab", ["a\0", "b"], ["a", "a"], [None, {}])
    ):
        page = json.dumps({"info": {"features": {"label": {"names": names}}}})
        yield f"names{n}", partial(lay, made(page, image=nameless), 6)
    for n, page in enumerate(("{", "[" * 100_000, '{"info": 5}', '{"info": {"features": []}}')):
        yield f"page{n}", partial(lay, made(page), 6)
