"""Samples are cut out of large pieces of their tars, and a tar that is not the manifest's is found out."""

import io
import itertools
import shutil
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from viewstream.pipeline.readers import pieces as module
from viewstream.pipeline.readers.pieces import GAP, PIECE, pieces, skip
from viewstream.pipeline.readers.sequential import SequentialTarReader
from viewstream.shards.errors import UserError
from viewstream.shards.manifest import Manifest
from viewstream.shards.sources.local import Local

from .streams import blocks, plain, streamed


@given(st.lists(st.tuples(st.integers(0, 2 * GAP), st.integers(1, 2 * PIECE)), min_size=1, max_size=40))
def test_pieces_take_every_range_once_and_are_no_longer_than_need_be(ranges):
    gap, length = np.array(ranges).T
    end = np.cumsum(gap + length)
    begin = end - length
    found = list(pieces(begin, end))
    assert np.concatenate([np.arange(len(end))[part] for part in found]).tolist() == list(range(len(end)))
    for part in found:
        assert end[part][-1] - begin[part][0] <= max(PIECE, length[part][0])
        assert (begin[part][1:] - end[part][:-1] <= GAP).all()
    for one, two in itertools.pairwise(found):  # they could not be one
        apart = begin[two][0] - end[one][-1] > GAP
        assert apart or end[two][0] - begin[one][0] > PIECE


@pytest.mark.parametrize("seek", [False, True])
def test_a_stream_goes_on_at_the_byte_that_is_wanted(seek, monkeypatch):
    monkeypatch.setattr(module, "PIECE", 10)
    stream = io.BytesIO(bytes(range(100)))
    skip(stream, 0, 37, seek=seek)
    assert stream.read(1) == bytes([37])
    skip(stream, 38, 38, seek=seek)
    assert stream.read(1) == bytes([38])
    skip(stream, 39, 200, seek=seek)
    assert stream.read(1) == b""


class Counted(io.BufferedReader):
    """A file that counts the bytes that are read."""

    count = 0

    def read(self, size):
        Counted.count += size
        return super().read(size)


class Folder(Local):
    """A folder of such files."""

    def open(self, path):
        return Counted(open(self.root / path, "rb", buffering=0))


def test_files_are_read_only_where_samples_are_wanted(many, monkeypatch):
    monkeypatch.setattr(module, "GAP", 2000)
    rows = np.flatnonzero(many.shard == 0)
    rows = rows[np.argsort(many.offset[rows])][[0, 1, -1]]
    reader = SequentialTarReader(many, 1)
    reader.storage = Folder(many.root)
    assert streamed(reader, rows) == plain(many, rows)
    reader.close()
    assert many.bytes[rows].sum() < Counted.count < many.bytes[rows].sum() + 3 * 512 + 2 * 2000
    command = SequentialTarReader(many, 1, pipe=f"cat {many.root}/{{file}}")
    assert streamed(command, rows) == plain(many, rows)
    command.close()


def test_pieces_and_the_samples_of_the_window_are_all_that_is_held(many, monkeypatch):
    monkeypatch.setattr(module, "PIECE", 1 << 15)
    reader, rows = SequentialTarReader(many, 2), blocks(many.shard, 2, 0)
    tracemalloc.start()
    reader.prefetch(iter([rows]))
    for row in rows.tolist():
        reader.read(row)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    reader.close()
    assert peak < reader.room + 2 * module.PIECE + 30_000  # a piece, the samples cut from it, objects


def test_a_tar_with_the_members_of_another_is_found_out_at_the_first(many, tmp_path):
    copy = Manifest.open(shutil.copytree(many.root, tmp_path / "copy"))
    rows = np.flatnonzero(copy.shard == 0)
    shutil.copy(copy.tars()[1], copy.tars()[0])
    reader = SequentialTarReader(copy, 2)
    first = rows[np.argmin(copy.offset[rows])]
    with pytest.raises(UserError, match=rf"sample {first} .* cannot be streamed .* \(it is not in the tar\): check"):
        streamed(reader, rows)
    reader.close()


def test_readers_get_what_has_arrived_though_more_is_on_its_way(many, monkeypatch):
    monkeypatch.setattr(module, "PIECE", 1 << 14)
    rows = np.flatnonzero(many.shard == 0)
    rows = rows[np.argsort(many.offset[rows])]
    arrived = rows[many.offset[rows] + many.bytes[rows] <= 1 << 14]
    assert 0 < len(arrived) < module.GROUP
    reader = SequentialTarReader(many, 2, f"head -c {1 << 15} {many.root}/{{file}}; exec sleep 0.5", read_timeout=5)
    reader.prefetch(iter([rows]))
    assert [reader.read(row) for row in arrived.tolist()] == plain(many, arrived)
    assert reader._buffer.thread.is_alive()
    reader.close()
