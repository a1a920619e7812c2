"""Streams that stall, are broken off or closed end, and leave no thread or file behind."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from viewstream.pipeline.readers.sequential import SequentialTarReader
from viewstream.shards.errors import UserError

from .streams import blocks, plain, streaming


def test_a_stream_that_stalls_is_named_and_does_not_hold_up_closing(many):
    rows = np.flatnonzero(many.shard == 0)
    reader = SequentialTarReader(many, 2, pipe="head -c 9000 /dev/zero; exec sleep 0.5 # {file}", read_timeout=0.1)
    reader.prefetch(rows)
    with pytest.raises(UserError, match=r"nothing has come for 0.1 s while sample 0 was waited for"):
        reader.read(int(rows[0]))
    reader.close()
    assert not streaming()


def test_breaking_out_of_an_epoch_leaves_no_thread_or_file_behind(many):
    files = len(os.listdir("/proc/self/fd"))
    reader = SequentialTarReader(many, 3)
    for epoch in range(3):
        rows = blocks(many.shard, 2, epoch)
        reader.prefetch(rows)
        assert [reader.read(row) for row in rows[:7].tolist()] == plain(many, rows[:7])
    reader.close()
    assert not streaming()
    assert len(os.listdir("/proc/self/fd")) == files


def test_closing_sends_whoever_waits_away(many):
    reader = SequentialTarReader(many, 3, pipe="exec sleep 0.3 # {file}")
    reader.prefetch(np.arange(len(many)))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(reader.read, 0)
        time.sleep(0.05)
        reader.close()
        with pytest.raises(UserError, match="was closed while sample 0"):
            waiting.result(5)
    assert not streaming()
