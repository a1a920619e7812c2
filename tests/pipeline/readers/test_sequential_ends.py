"""Streams that stall, are abandoned or closed come to an end and leave no thread or open file."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from viewstream.pipeline.readers.sequential import SequentialTarReader
from viewstream.shards.errors import UserError

from .streams import blocks, plain, streaming


def test_a_stream_that_stalls_is_named_and_can_be_closed(many):
    rows = np.flatnonzero(many.shard == 0)
    reader = SequentialTarReader(many, 2, pipe="head -c 9000 /dev/zero; exec sleep 0.5 # {file}", read_timeout=0.1)
    reader.prefetch(iter([rows]))
    with pytest.raises(UserError, match=r"nothing has arrived for 0.1 s while a read waited for sample 0"):
        reader.read(int(rows[0]))
    reader.close()
    assert not streaming()


def test_breaking_out_of_an_epoch_leaves_no_thread_or_open_file(many):
    files = len(os.listdir("/proc/self/fd"))
    reader = SequentialTarReader(many, 3)
    for epoch in range(3):
        rows = blocks(many.shard, 2, epoch)
        reader.prefetch(iter([rows]))
        assert [reader.read(row) for row in rows[:7].tolist()] == plain(many, rows[:7])
    reader.close()
    assert not streaming()
    assert len(os.listdir("/proc/self/fd")) == files


def test_closing_ends_a_waiting_read(many):
    reader = SequentialTarReader(many, 3, pipe="exec sleep 0.3 # {file}")
    reader.prefetch(iter([np.arange(len(many))]))
    buffer = reader._buffer
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(reader.read, 0)
        until = time.monotonic() + 30
        while 0 not in buffer.awaited:
            assert time.monotonic() < until
        reader.close()
        with pytest.raises(UserError, match="was closed while a read waited for sample 0"):
            waiting.result(5)
    assert not streaming()
