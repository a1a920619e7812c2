"""A cache of limited size: it keeps files in use, evicts others, and never shows a partial file."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from viewstream.pipeline.readers import cache as cache_module
from viewstream.pipeline.readers.cache import Cache
from viewstream.pipeline.readers.shard_use import peak_bytes, shard_use
from viewstream.shards.errors import UserError
from viewstream.shards.sources.retry import Stopped

NEVER = threading.Event()


def filled(size, calls=None):
    def fill(path):
        if calls is not None:
            calls.append(path.name)
        path.write_bytes(b"x" * size)

    return fill


class StopEvent(threading.Event):
    """A stop event that knows when a thread has waited for it."""

    def __init__(self):
        super().__init__()
        self.waited = threading.Event()

    def wait(self, timeout=None):
        self.waited.set()
        return super().wait(timeout)


def test_the_least_recently_used_file_is_evicted_and_a_file_in_use_is_not(tmp_path):
    cache = Cache(tmp_path, 30, timeout=0.1)
    held = cache.get("a", 10, filled(10), NEVER)
    for age, name in ((30, "b"), (20, "c")):
        cache.get(name, 10, filled(10), NEVER).close()
        past = time.time() - age
        os.utime(tmp_path / name, (past, past))
    os.utime(tmp_path / "a", (0, 0))
    cache.get("b", 10, filled(10), NEVER).close()  # used just now
    cache.get("d", 10, filled(10), NEVER).close()
    assert {p.name for p in tmp_path.iterdir()} == {"a", "b", "d", ".alone"}
    others = [cache.get(name, 10, filled(10), NEVER) for name in ("b", "d")]
    with pytest.raises(UserError, match="limited to 30 bytes, 30 of them are in use, and 10 more are needed: raise"):
        cache.get("e", 10, filled(10), NEVER)
    assert {p.name for p in tmp_path.iterdir()} == {"a", "b", "d", ".alone"}
    assert held.read() == b"x" * 10
    for file in (held, *others):
        file.close()
    cache.get("e", 10, filled(10), NEVER).close()


def test_a_get_waits_for_room_until_it_is_stopped(tmp_path):
    cache, never, stop = Cache(tmp_path, 10), StopEvent(), StopEvent()
    held = cache.get("a", 10, filled(10), NEVER)
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(cache.get, "b", 10, filled(10), never)
        stopped = pool.submit(cache.get, "c", 10, filled(10), stop)
        assert never.waited.wait(30)
        assert stop.waited.wait(30)
        assert not waiting.done()
        stop.set()
        with pytest.raises(Stopped):
            stopped.result()
        held.close()
        waiting.result().close()


def test_files_left_by_a_killed_process_do_no_harm(tmp_path):
    cache = Cache(tmp_path, 20, timeout=0.1)
    for name in ("a", "b"):
        (tmp_path / f"{name}.partial").write_bytes(b"half")
        with (tmp_path / f"{name}.lock").open("wb") as lock:
            lock.truncate(20)
    cache.get("a", 15, filled(15), NEVER).close()
    assert {p.name for p in tmp_path.iterdir()} == {"a", ".alone"}
    (tmp_path / "a").write_bytes(b"cut")  # incomplete: fetched again
    file = cache.get("a", 15, filled(15), NEVER)
    assert len(file.read()) == 15
    file.close()


def test_a_folder_of_other_files_is_no_cache_and_loses_none(tmp_path):
    (tmp_path / "mine.tar").write_bytes(b"x" * 30)
    with pytest.raises(UserError, match="holds files that no cache wrote"):
        Cache(tmp_path, 20)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.tar"]


def test_many_threads_that_miss_a_file_at_once_fetch_it_once(tmp_path, monkeypatch):
    cache, calls = Cache(tmp_path, 100), []
    missed = {f"{name}.lock": threading.Barrier(4) for name in "ab"}

    def held(path, lock=cache_module.held):
        if path.name in missed:
            missed[path.name].wait(30)  # all four threads have looked and found no file
        return lock(path)

    monkeypatch.setattr(cache_module, "held", held)
    with ThreadPoolExecutor(8) as pool:
        for file in pool.map(lambda n: cache.get("ab"[n % 2], 10, filled(10, calls), NEVER), range(8)):
            file.close()
    assert sorted(calls) == ["a.partial", "b.partial"]


def test_a_failed_fetch_leaves_no_file(tmp_path):
    cache = Cache(tmp_path, 100)

    def fail(path):
        path.write_bytes(b"poison")
        raise RuntimeError("net")

    with pytest.raises(RuntimeError, match="net"):
        cache.get("a", 6, fail, NEVER)
    assert {p.name for p in tmp_path.iterdir()} == {".alone"}


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=40),
    st.lists(st.integers(1, 9), min_size=7, max_size=7),
    st.integers(1, 5),
)
def test_peak_bytes_equal_a_plain_count(shards, sizes, parts):
    order = shard_use(np.array_split(shards, parts), 7)
    assert order.shard.tolist() == list(dict.fromkeys(shards))
    sums = []
    for at, shard in enumerate(shards):
        if shard not in shards[:at]:
            sums.append(sum(sizes[s] for s in set(shards[: at + 1]) if s in shards[at:]))
    size = np.array(sizes)[order.shard]
    assert peak_bytes(order.first, np.arange(len(size)), order.last, size) == max(sums)
