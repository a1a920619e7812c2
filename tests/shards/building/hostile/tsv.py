"""Damaged TSV tables with a line index, as SEED has them."""

import base64
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from .source import GOOD, Damage, Laid, Lay, cut, garbled, written

LABELS = (b"cat", b"1.5", b"-1", b"-9", b"", b"10000000", b"9" * 25, b"9" * 5000, b"\xff", b"1e3", b"nan", b"0x1")
ROWS = [
    (name.partition("/")[2].encode(), b"%d" % name.startswith("dog"), base64.b64encode(data))
    for name, data in GOOD.items()
]
LINES = [b"\t".join(row) for row in ROWS]
WHOLE = b"\n".join(LINES) + b"\n"


def odd_lines() -> dict[str, bytes]:
    """{case: the line that takes the place of the fifth}."""
    key, label, data = ROWS[4]
    rows = {
        "base64": (key, label, b"*" + data),
        "padding": (key, label, data[:-1]),
        "nothing": (key, label, b""),
        "columns": (key, label),
        "one": (key,),
        "blank": (),
        "extra": (key, label, b"0.5", b"x" * 99_000, data),
        "far": (key, b" " * 70_000 + label, data),
        "latin": (b"\xff", label, data),
        "zero": (b"a\0b", label, data),
        "up": (b"../x", label, data),
        "slash": (b"/x", label, data),
        "empty-key": (b"", label, data),
        "spaces": (b"  ", label, data),
        "twice": (ROWS[3][0], label, data),
        "return": (key, label, data + b"\r"),
        "image": (key, label, base64.b64encode(b"none")),
        **{f"label-{n}": (key, word, data) for n, word in enumerate(LABELS)},
    }
    return {name: b"\t".join(row) for name, row in rows.items()}


def odd_indices() -> dict[str, bytes]:
    """{case: a line index that does not fit the table}."""
    starts = np.cumsum([0, *(len(line) + 1 for line in LINES)])[:-1].tolist()
    numbers = {
        "skips": starts[:2] + starts[3:],
        "short": starts[:3],
        "inside": [0, 9, *starts[2:]],
        "first": starts[1:],
        "negative": [-1, *starts[1:]],
        "beyond": [*starts, 10**9],
        "backwards": starts[::-1],
        "large": [0, 10**30],
    }
    found = {f"index-{name}": b"".join(b"%d\n" % start for start in some) for name, some in numbers.items()}
    return found | {f"index{n}": text for n, text in enumerate((b"", b"\xff\0", b"zero\n", b"9" * 5000))}


def tsv() -> Iterator[tuple[str, Lay]]:
    def lay(data: Damage, count: int | None, root: Path, rng: random.Random) -> Laid:
        return Laid(written(root / "pets.tsv", data, rng), ("pets.tsv", "0/", "1/"), count=count)

    def indexed(index: bytes, root: Path, rng: random.Random) -> Laid:
        (root / "pets.lineidx").write_bytes(index)
        return lay(WHOLE, 6, root, rng)

    for name, line in odd_lines().items():
        yield name, partial(lay, b"\n".join([*LINES[:4], line, LINES[5]]), 6)
    for n in range(8):
        yield f"cut{n}", partial(lay, partial(cut, WHOLE, first=1), None)
        yield f"garbled{n}", partial(lay, partial(garbled, WHOLE), None)
    yield "noise", partial(lay, lambda rng: rng.randbytes(5000), None)
    for name, index in odd_indices().items():
        yield name, partial(indexed, index)
