"""A cache of limited size: files in use stay, what nobody uses goes, and nothing half-fetched is ever seen."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from viewstream.pipeline.readers.cache import Cache, Stopped
from viewstream.pipeline.readers.shard_use import peak_bytes, shard_use
from viewstream.shards.errors import UserError

NEVER = threading.Event()


def filled(size, calls=None):
    def fill(path):
        if calls is not None:
            calls.append(path.name)
            time.sleep(0.02)
        path.write_bytes(b"x" * size)

    return fill


def test_the_least_recently_used_goes_first_and_a_file_in_use_never(tmp_path):
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
    with pytest.raises(UserError, match="limited to 30 bytes, of which 30 are in use, and 10 are wanted: raise"):
        cache.get("e", 10, filled(10), NEVER)
    assert {p.name for p in tmp_path.iterdir()} == {"a", "b", "d", ".alone"}
    assert held.read() == b"x" * 10
    for file in (held, *others):
        file.close()
    cache.get("e", 10, filled(10), NEVER).close()


def test_who_needs_room_waits_for_it_until_stopped(tmp_path):
    cache, stop = Cache(tmp_path, 10), threading.Event()
    held = cache.get("a", 10, filled(10), NEVER)
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(cache.get, "b", 10, filled(10), NEVER)
        stopped = pool.submit(cache.get, "c", 10, filled(10), stop)
        time.sleep(0.1)
        assert not waiting.done()
        stop.set()
        with pytest.raises(Stopped):
            stopped.result()
        held.close()
        waiting.result().close()


def test_what_a_killed_process_left_is_no_obstacle(tmp_path):
    cache = Cache(tmp_path, 20, timeout=0.1)
    for name in ("a", "b"):
        (tmp_path / f"{name}.partial").write_bytes(b"half")
        with (tmp_path / f"{name}.lock").open("wb") as lock:
            lock.truncate(20)
    cache.get("a", 15, filled(15), NEVER).close()
    assert {p.name for p in tmp_path.iterdir()} == {"a", ".alone"}
    (tmp_path / "a").write_bytes(b"cut")  # not whole: fetched again
    file = cache.get("a", 15, filled(15), NEVER)
    assert len(file.read()) == 15
    file.close()


def test_a_file_is_fetched_once_however_many_threads_want_it(tmp_path):
    cache, calls = Cache(tmp_path, 100), []
    with ThreadPoolExecutor(8) as pool:
        for file in pool.map(lambda n: cache.get("ab"[n % 2], 10, filled(10, calls), NEVER), range(32)):
            file.close()
    assert sorted(calls) == ["a.partial", "b.partial"]


def test_a_failure_leaves_nothing_under_any_name(tmp_path):
    cache = Cache(tmp_path, 100)

    def fail(path):
        path.write_bytes(b"poison")
        raise RuntimeError("net")

    with pytest.raises(RuntimeError, match="net"):
        cache.get("a", 6, fail, NEVER)
    assert {p.name for p in tmp_path.iterdir()} == {".alone"}


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=40), st.lists(st.integers(1, 9), min_size=7, max_size=7))
def test_the_bytes_needed_side_by_side_are_those_of_a_count_by_hand(shards, sizes):
    order = shard_use(np.array(shards))
    assert order.shard.tolist() == list(dict.fromkeys(shards))
    sums = []
    for at, shard in enumerate(shards):
        if shard not in shards[:at]:
            sums.append(sum(sizes[s] for s in set(shards[: at + 1]) if s in shards[at:]))
    size = np.array(sizes)[order.shard]
    assert peak_bytes(order.first, np.arange(len(size)), order.last, size) == max(sums)
