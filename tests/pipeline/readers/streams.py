"""Orders in blocks of tars, and what readers return for them."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from viewstream.shards.formats.read import open_tar


def blocks(shard, window, seed):
    """All rows: tars in a random order, samples shuffled within `window` of them."""
    rng = np.random.default_rng(seed)
    tars = rng.permutation(int(shard.max()) + 1)
    parts = [np.flatnonzero(np.isin(shard, tars[at : at + window])) for at in range(0, len(tars), window)]
    return np.concatenate([rng.permutation(part) for part in parts])


def plain(manifest, rows):
    with open_tar(manifest) as reader:
        return [reader.read(row) for row in rows.tolist()]


def streamed(reader, rows, threads=1):
    """The samples that the reader returns for one epoch, in order."""
    reader.prefetch(iter([rows]))
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(reader.read, rows.tolist()))


def streaming():
    return [t for t in threading.enumerate() if t.name == "viewstream-stream"]
