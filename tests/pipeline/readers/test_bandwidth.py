"""The cap on bandwidth holds for the sum of all threads, stores and sets of a process."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from viewstream.pipeline.readers.bandwidth import MEGABIT, Bandwidth, bandwidth
from viewstream.pipeline.readers.remote import origin_of
from viewstream.pipeline.readers.remote_tar import RemoteTarReader
from viewstream.shards.sources.retry import Stopped
from viewstream.trainers.data import Sets

from .fetched import assert_same


def test_threads_share_one_budget_and_idle_time_is_kept_for_a_second_at_most():
    budget, never = Bandwidth(8), threading.Event()
    budget._paid -= 100  # as if the process had fetched nothing for a while
    began = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: budget.take(30 * 1024, never), range(40)))
    assert time.monotonic() - began >= 40 * 30 * 1024 / (8 * MEGABIT) - 1


def test_a_process_has_one_budget_and_none_without_a_limit():
    assert bandwidth(5) is bandwidth(5)
    bandwidth(0).take(1 << 60, threading.Event())


def test_a_stop_ends_the_wait():
    stop = threading.Event()
    threading.Timer(0.05, stop.set).start()
    with pytest.raises(Stopped):
        Bandwidth(0.001).take(1 << 30, stop)


def test_the_option_reaches_what_fetches_and_holds_for_a_whole_set(server, many, tmp_path):
    began, mbps = time.monotonic(), 4.5  # a number that no other test has: its budget is new
    manifest = Sets(data=server.url, cache=tmp_path / "a", cache_mbps=mbps).training()
    reader = RemoteTarReader(manifest)
    assert_same(reader, many)
    reader.close()
    assert time.monotonic() - began >= sum(line["bytes"] for line in manifest.info.files) / (mbps * MEGABIT)
    assert origin_of(Sets(data=server.url, cache=tmp_path / "b").training())[2] == 0
