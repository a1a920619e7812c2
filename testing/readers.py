"""The laws of a sample reader."""

import os
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import simplejpeg

from ..shards.formats.reader import SampleReader
from ..shards.manifest import Manifest
from .laws import BrokenLaw, require

THREADS = 8
DESCRIPTORS = Path("/proc/self/fd")


def check_reader(open_reader: Callable[[], SampleReader], manifest: Manifest, *, samples: int = 64) -> None:
    """BrokenLaw unless readers keep their laws on the first `samples` rows of `manifest`.

    `open_reader` returns a new reader of that manifest at each call. It is closed here.
    """
    rows = np.arange(min(samples, len(manifest)))
    before = _held()
    reader = open_reader()
    try:
        _check_reads(reader, manifest, rows)
    except BrokenLaw:
        reader.close()
        raise
    reader.close()
    left = _held() - before
    require(not left, reader, "close ends all threads and files", f"left open: {sorted(left)}")


def _check_reads(reader: SampleReader, manifest: Manifest, rows: np.ndarray) -> None:
    reader.prefetch(iter([rows]))
    alone = [_bytes(reader, manifest, row) for row in rows.tolist()]
    reader.prefetch(iter([rows]))
    again = [_bytes(reader, manifest, row) for row in rows.tolist()]
    require(again == alone, reader, "a row has the same bytes every time it is read", _first(alone, again))
    for row in rows.tolist():
        place = reader.locate(row)
        require(bool(isinstance(place, str) and place), reader, "locate names where a sample is stored", repr(place))
    reader.prefetch(iter([rows]))
    with ThreadPoolExecutor(THREADS) as pool:
        threaded = list(pool.map(lambda row: _bytes(reader, manifest, row), rows.tolist()))
    require(threaded == alone, reader, "read is safe from many threads", _first(alone, threaded))
    _check_prefetch(reader, manifest, rows, alone)


def _check_prefetch(reader: SampleReader, manifest: Manifest, rows: np.ndarray, right: list[bytes]) -> None:
    """An epoch in another order, after one that was broken off."""
    order = np.random.default_rng(0).permutation(rows)
    reader.prefetch(iter(np.array_split(order[::-1], 3)))
    _bytes(reader, manifest, int(order[-1]))
    reader.prefetch(iter(np.array_split(order, 3)))
    found = {row: _bytes(reader, manifest, row) for row in order.tolist()}
    reread = [found[row] for row in rows.tolist()]
    require(reread == right, reader, "prefetch changes no bytes, even after a stopped epoch", _first(right, reread))


def _bytes(reader: SampleReader, manifest: Manifest, row: int) -> bytes:
    """The sample as bytes, after its form was checked: a JPEG, or pixels [H, W, 3] uint8, of the manifest's size."""
    data = reader.read(row)
    law = "read returns a JPEG as bytes, or pixels [H, W, 3] uint8"
    if isinstance(data, np.ndarray):
        require(
            data.dtype == np.uint8 and data.ndim == 3 and data.shape[2] == 3, reader, law, f"row {row}: {data.shape}"
        )
        size = data.shape[:2]
    else:
        require(isinstance(data, bytes | memoryview), reader, law, f"row {row}: {type(data).__name__}")
        try:
            size = simplejpeg.decode_jpeg_header(bytes(data))[:2]
        except ValueError as error:
            require(False, reader, law, f"row {row}: {error}")
            raise AssertionError from error
    want = tuple(manifest.hw[row].tolist())
    require(
        tuple(size) == want, reader, "a sample has the manifest's height and width", f"row {row}: {size}, not {want}"
    )
    return data.tobytes() if isinstance(data, np.ndarray) else bytes(data)


def _first(right: list[bytes], found: list[bytes]) -> str:
    """The first position that differs."""
    return next(
        (f"first at row {i}" for i, pair in enumerate(zip(right, found, strict=True)) if pair[0] != pair[1]), ""
    )


def _held() -> Counter[str]:
    """Names of the threads that run and paths of the files that are open."""
    held = Counter(f"thread {thread.name}" for thread in threading.enumerate())
    for link in DESCRIPTORS.iterdir() if DESCRIPTORS.exists() else ():
        path = os.readlink(link) if link.is_symlink() else ""
        if path.startswith("/") and not path.startswith(("/proc", "/dev")):
            held[f"file {path}"] += 1
    return held
