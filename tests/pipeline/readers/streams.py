"""Orders in blocks of tars, and what doors read in them."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from viewstream.shards.formats.read import open_tar


def blocks(shard, window, seed):
    """All rows: tars in a drawn order, samples mixed within `window` of them."""
    rng = np.random.default_rng(seed)
    tars = rng.permutation(int(shard.max()) + 1)
    parts = [np.flatnonzero(np.isin(shard, tars[at : at + window])) for at in range(0, len(tars), window)]
    return np.concatenate([rng.permutation(part) for part in parts])


def plain(manifest, rows):
    door = open_tar(manifest)
    data = [door.read(row) for row in rows.tolist()]
    door.close()
    return data


def streamed(door, rows, threads=1):
    """What the door reads of an epoch, in order."""
    door.expect(rows)
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(door.read, rows.tolist()))


def streaming():
    return [t for t in threading.enumerate() if t.name == "viewstream-stream"]
