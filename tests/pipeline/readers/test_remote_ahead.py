"""Remote tars are fetched ahead: in order, up to the given number, until the epoch ends."""

import queue
import threading

import numpy as np
import pytest

from viewstream.pipeline.readers.shard_prefetch import ShardPrefetcher
from viewstream.pipeline.readers.shard_use import shard_use
from viewstream.shards.errors import UserError

from .fetched import assert_same, opened


@pytest.fixture
def refused(monkeypatch):
    """Numbers of the tars that a prefetcher considered and did not fetch yet."""
    numbers = queue.Queue()

    def may_fetch(self, number, ask=ShardPrefetcher.may_fetch):
        if not (answer := ask(self, number)):
            numbers.put(number)
        return answer

    monkeypatch.setattr(ShardPrefetcher, "may_fetch", may_fetch)
    return numbers


def test_tars_are_fetched_in_order_and_no_further_than_ahead(server, many, tmp_path, refused):
    reader = opened(server, tmp_path, ahead=2)
    rows = np.argsort(many.shard, kind="stable")[::-1]
    names = [many.tars()[shard].name for shard in shard_use([many.shard[rows]], len(many.tars())).shard]
    server.asked.clear()
    reader.prefetch(iter([rows]))
    assert refused.get(timeout=30) == 3  # from now on the thread waits
    assert server.asked == names[:3]
    assert_same(reader, many, rows)
    assert server.asked == names
    reader.close()


def test_a_new_epoch_and_closing_end_the_prefetching(server, many, tmp_path):
    reader, first = opened(server, tmp_path), many.tars()[0].name
    rows = np.argsort(many.shard, kind="stable")
    server.faults = {first: ["stall"]}
    reader.prefetch(iter([rows]))
    server.wait_for_request(first)
    reader.prefetch(iter([rows[::-1]]))  # while the first tar stalls
    assert_same(reader, many, rows[::-1][:20])
    reader.close()
    assert not [t for t in threading.enumerate() if t.name == "viewstream-fetch"]


def test_an_error_ahead_is_raised_only_by_reads_of_that_tar(server, many, tmp_path):
    reader = opened(server, tmp_path)
    rows = np.argsort(many.shard, kind="stable")
    bad = many.tars()[1].name
    server.faults = {bad: ["flip"] * 100}
    reader.prefetch(iter([rows]))
    assert_same(reader, many, rows[many.shard[rows] != 1])
    with pytest.raises(UserError, match=bad):
        reader.read(int(rows[many.shard[rows] == 1][0]))
    reader.close()
