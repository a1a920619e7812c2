"""Remote tars are fetched ahead: in order, as far as told, until the epoch ends."""

import threading
import time

import numpy as np
import pytest

from viewstream.pipeline.readers.shard_use import shard_use
from viewstream.shards.errors import UserError

from .fetched import assert_same, opened


def test_tars_are_fetched_ahead_in_order_and_not_further_than_told(server, many, tmp_path):
    reader = opened(server, tmp_path, ahead=2)
    rows = np.argsort(many.shard, kind="stable")[::-1]
    names = [many.tars()[shard].name for shard in shard_use(many.shard[rows]).shard]
    server.asked.clear()
    reader.prefetch(rows)
    deadline = time.monotonic() + 5
    while len(server.asked) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    assert server.asked == names[:3]
    assert_same(reader, many, rows)
    assert server.asked == names
    reader.close()


def test_a_new_epoch_and_closing_end_the_reading_ahead(server, many, tmp_path):
    reader = opened(server, tmp_path)
    before, rows = threading.active_count(), np.argsort(many.shard, kind="stable")
    server.faults = {many.tars()[0].name: ["stall"]}
    reader.prefetch(rows)
    time.sleep(0.05)
    reader.prefetch(rows[::-1])  # while the first tar stalls
    assert_same(reader, many, rows[::-1][:20])
    reader.close()
    ours = [t for t in threading.enumerate() if t.name == "viewstream-fetch"]
    assert not ours, threading.active_count() - before


def test_an_error_ahead_is_told_to_who_reads_the_row_and_to_nobody_else(server, many, tmp_path):
    reader = opened(server, tmp_path)
    rows = np.argsort(many.shard, kind="stable")
    bad = many.tars()[1].name
    server.faults = {bad: ["flip"] * 100}
    reader.prefetch(rows)
    assert_same(reader, many, rows[many.shard[rows] != 1])
    with pytest.raises(UserError, match=bad):
        reader.read(int(rows[many.shard[rows] == 1][0]))
    reader.close()
