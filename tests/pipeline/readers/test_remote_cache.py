"""The cache of remote tars stays within its limit, holds only valid tars and is shared by processes."""

import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest

from viewstream.shards.errors import UserError
from viewstream.shards.formats.read import open_tar

from .fetched import assert_same, assert_sound, opened

READ_ALL = """
import hashlib, sys
import numpy as np
from viewstream.pipeline.readers.remote import open_remote
from viewstream.pipeline.readers.remote_tar import RemoteTarReader
url, folder, limit, seed = sys.argv[1:]
reader = RemoteTarReader(open_remote(url, folder, int(limit)))
m = reader.manifest
order = np.random.default_rng(int(seed)).permutation(len(m.tars()))
rows = np.concatenate([np.flatnonzero(m.shard == shard) for shard in order])
reader.prefetch(iter([rows]))
total = hashlib.sha256()
for row, data in sorted((row, reader.read(row)) for row in rows.tolist()):
    total.update(data)
reader.close()
print(total.hexdigest())
"""


def size(path):
    """Bytes of a file, 0 if it was evicted meanwhile."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def test_an_order_that_needs_more_tars_at_a_time_than_the_cache_holds_is_refused(server, many, tmp_path):
    sizes = [tar.stat().st_size for tar in many.tars()]
    reader = opened(server, tmp_path, limit=2 * max(sizes))
    with pytest.raises(UserError, match=r"needs [\d,]+ bytes of tars at a time, the cache holds"):
        reader.prefetch(iter([np.random.default_rng(0).permutation(len(many))]))
    reader.close()
    small = opened(server, tmp_path, limit=min(sizes) - 1)
    with pytest.raises(UserError, match="does not fit into a cache of"):
        small.read(0)
    small.close()


def test_a_cache_smaller_than_the_set_keeps_to_its_limit_and_reads_the_same(server, many, tmp_path):
    limit = 3 * max(tar.stat().st_size for tar in many.tars())
    reader = opened(server, tmp_path, limit)
    rows, largest = np.argsort(many.shard, kind="stable"), 0
    reader.prefetch(iter([rows]))
    with open_tar(many) as plain:
        for row in rows.tolist():
            assert reader.read(row) == plain.read(row)
            largest = max(largest, sum(map(size, (tmp_path / "tars").glob("?" * 64))))
    reader.close()
    assert 0 < largest <= limit
    assert len([name for name in server.asked if name.endswith(".tar")]) == len(many.tars())
    assert_sound(tmp_path, many)


@pytest.mark.full
@pytest.mark.parametrize("room", [3, 1000])
def test_processes_share_a_cache_and_fetch_each_tar_once_if_it_holds_the_set(server, many, tmp_path, room):
    limit = room * max(tar.stat().st_size for tar in many.tars())
    seeds = range(3)
    started = [
        subprocess.Popen(
            [sys.executable, "-c", READ_ALL, server.url, str(tmp_path), str(limit), str(seed)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in seeds
    ]
    digest = hashlib.sha256()
    with open_tar(many) as plain:
        for row in range(len(many)):
            digest.update(plain.read(row))
    assert [p.communicate(timeout=120)[0].strip() for p in started] == [digest.hexdigest()] * len(seeds)
    assert_sound(tmp_path, many)
    tars = [name for name in server.asked if name.endswith(".tar")]
    if room == 1000:
        assert sorted(tars) == sorted(tar.name for tar in many.tars())
    assert json.loads((next(tmp_path.glob("many-*")) / "remote.json").read_text())["limit"] == limit


@pytest.mark.full
def test_a_process_killed_while_it_fetches_leaves_the_cache_sound(server, many, tmp_path):
    tar = many.tars()[many.shard[0]].name
    server.faults = {tar: ["stall"]}
    command = [sys.executable, "-c", READ_ALL, server.url, str(tmp_path), "1000000", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        server.wait_for_request(tar, timeout=60)
        assert list(tmp_path.glob("tars/*.partial"))
        process.kill()
    server.faults = {}
    reader = opened(server, tmp_path)
    assert_same(reader, many)
    reader.close()
    assert_sound(tmp_path, many)
