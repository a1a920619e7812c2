"""Streamed tars: the same bytes in the order passed to prefetch(), in bounded memory."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from viewstream.pipeline.readers.reorder import ReorderBuffer
from viewstream.pipeline.readers.sequential import SequentialTarReader
from viewstream.shards.errors import UserError

from .streams import blocks, plain, streamed, streaming


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 4), st.integers(0, 4), st.integers(0, 99), st.integers(1, 4), st.integers(0, 90))
def test_an_order_with_any_window_reads_the_same_bytes(many, window, more, seed, threads, start):
    rows = blocks(many.shard, window, seed)[start:]  # a resumed epoch is the tail of the whole one
    reader = SequentialTarReader(many, window + more, read_timeout=5)
    try:
        assert streamed(reader, rows, threads) == plain(many, rows)
        assert reader._buffer.bytes == 0
    finally:
        reader.close()


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 4), st.integers(0, 99), st.permutations(range(8)))
def test_threads_may_read_a_little_out_of_order_in_the_smallest_window(many, window, seed, order):
    rows = blocks(many.shard, window, seed)
    reader = SequentialTarReader(many, window, read_timeout=5)
    try:
        reader.prefetch(iter([rows]))
        for at in range(0, len(rows), 8):
            chunk = rows[at : at + 8][order]
            assert [reader.read(row) for row in chunk.tolist()] == plain(many, chunk)
    finally:
        reader.close()


def test_held_samples_stay_within_the_window(many, monkeypatch):
    held = []

    def put(self, group, put=ReorderBuffer._put):
        done = put(self, group)
        with self.arrived:
            held.append(sum(map(len, self.held.values())))
        return done

    monkeypatch.setattr(ReorderBuffer, "_put", put)
    reader, rows = SequentialTarReader(many, 2), blocks(many.shard, 2, 0)
    reader.prefetch(iter([rows]))
    buffer = reader._buffer
    with buffer.arrived:
        assert buffer.arrived.wait_for(lambda: buffer.bytes > max(many.bytes), 30)  # it reads ahead
    for row in rows.tolist():
        reader.read(row)
    assert reader.locate(3) == str(many.tars()[0])
    reader.close()
    assert max(many.bytes) < max(held) <= sum(sorted(tar.stat().st_size for tar in many.tars())[-2:])


def test_a_part_of_the_rows_and_repeated_rows_are_read(many):
    rows = blocks(many.shard, 2, 1)[1::2]
    rows = np.concatenate([rows, rows[:3], rows[-1:]])  # like an epoch that is padded at its end
    reader = SequentialTarReader(many, 3)
    assert streamed(reader, rows, 3) == plain(many, rows)
    assert streamed(reader, rows[:0]) == []
    reader.close()


def test_an_order_beyond_the_window_is_refused_before_any_read(many):
    reader = SequentialTarReader(many, 2)
    with pytest.raises(UserError, match=r"mixes more tars at a time than a window of 2 holds .* take --order blocks"):
        reader.prefetch(iter([np.random.default_rng(0).permutation(len(many))]))
    assert not streaming()
    with pytest.raises(UserError, match="a window of 0 tars holds nothing"):
        SequentialTarReader(many, 0)


def test_a_row_that_was_not_expected_is_refused(many):
    rows = np.flatnonzero(many.shard == 0)
    reader, other = SequentialTarReader(many, 2), int(np.flatnonzero(many.shard == 1)[0])
    with pytest.raises(UserError, match="was not expected: pass the rows"):
        reader.read(other)
    assert streamed(reader, rows) == plain(many, rows)
    for row in (other, int(rows[0])):  # not listed, and read twice
        with pytest.raises(UserError, match=f"sample {row} was not expected, or not as often"):
            reader.read(row)
    reader.close()


def test_reading_in_another_order_is_an_error(many):
    rows = np.argsort(many.shard, kind="stable")
    reader = SequentialTarReader(many, 1)
    reader.prefetch(iter([rows]))
    with pytest.raises(UserError, match=rf"came before sample {rows[-1]} and were not read: read in the order"):
        reader.read(int(rows[-1]))
    reader.close()
