"""Work is done ahead, in order and within a bound, and none of it runs on after an early close or an error."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from viewstream.shards.engine import begun, in_order, prefetch, unordered
from viewstream.shards.errors import UserError


class Sent:
    """Work whose copies in other processes can be counted."""

    def __getstate__(self):
        return {"copied": f"{os.getpid()}-{time.monotonic_ns()}"}

    def __call__(self, item):
        return os.getpid(), vars(self).get("copied"), item


def until(path):
    """Wait until a file is there."""
    while path and not path.exists():
        time.sleep(0.01)
    return path


def dies(item):
    os.kill(os.getpid(), signal.SIGKILL)


class Blocked:
    """Starts one task per item on one thread; the first runs until a moment after `release_soon`."""

    def __init__(self):
        self.pool, self.tasks = ThreadPoolExecutor(1), []
        self.begun, self.released = threading.Event(), threading.Event()

    def start(self, item):
        if item == "fails":
            raise ValueError("start fails")
        self.tasks.append(self.pool.submit(self._work))
        return self.tasks[-1:]

    def release_soon(self):
        assert self.begun.wait(10)
        threading.Timer(0.05, self.released.set).start()

    def _work(self):
        self.begun.set()
        assert self.released.wait(10)


@pytest.fixture
def blocked():
    tasks = Blocked()
    with tasks.pool:
        yield tasks


@pytest.mark.parametrize("depth", [0, 1, 3, 20])
def test_items_come_in_order_with_depth_items_started_ahead(depth):
    begun, taken = [], []
    with ThreadPoolExecutor(3) as pool:

        def start(item):
            begun.append(item)
            return [pool.submit(pow, item, 2), pool.submit(pow, item, 3)]

        for item, tasks in prefetch(range(10), start, depth):
            assert begun == list(range(min(10, item + depth + 1)))
            taken.append((item, *(task.result() for task in tasks)))
    assert taken == [(i, i**2, i**3) for i in range(10)]


def test_the_first_items_are_started_at_the_call_and_canceled_if_none_is_asked_for(blocked):
    started = prefetch(range(9), blocked.start, 3)
    assert len(blocked.tasks) == 3
    blocked.release_soon()
    started.close()
    assert [task.cancelled() for task in blocked.tasks] == [False, True, True]
    assert blocked.tasks[0].done()


def test_an_error_of_work_that_begins_at_the_call_comes_with_the_first_item():
    @begun
    def failing():
        raise ValueError("work fails")
        yield

    items = failing()
    with pytest.raises(ValueError, match="work fails"):
        next(items)
    assert list(items) == []


def test_an_early_close_cancels_what_has_not_begun_and_waits_for_what_has(blocked):
    started = prefetch(range(9), blocked.start, 3)
    next(started)
    blocked.release_soon()
    started.close()
    assert [task.cancelled() for task in blocked.tasks] == [False, True, True, True]
    assert blocked.tasks[0].done()


@pytest.mark.parametrize("failing", ["items", "start"])
def test_an_error_among_the_items_or_as_one_starts_does_the_same(blocked, failing):
    def items():
        yield from (0, 1)
        blocked.release_soon()
        if failing == "start":
            yield "fails"
        raise ValueError("items fails")

    with pytest.raises(ValueError, match=f"{failing} fails"):
        next(prefetch(items(), blocked.start, 3))
    assert [task.cancelled() for task in blocked.tasks] == [False, True]
    assert blocked.tasks[0].done()


@pytest.mark.parametrize("workers", [1, 2])
def test_processes_give_results_in_order(workers):
    assert list(in_order(abs, range(-9, 0), workers)) == list(range(9, 0, -1))


def test_processes_work_at_most_two_items_more_than_there_are_workers_ahead():
    asked = []

    def items():
        for item in range(20):
            asked.append(item)
            yield item

    with closing(in_order(abs, items(), 2)) as results:
        assert all(len(asked) - result <= 2 + 2 for result in results)


def test_the_first_items_error_is_raised():
    with pytest.raises(ZeroDivisionError):
        list(in_order((1).__truediv__, [1, 0, "not a number"], 2))


@pytest.mark.usefixtures("importable")
@pytest.mark.parametrize("workers", [1, 2])
def test_work_in_any_order_gives_every_result_once_and_is_sent_once_to_a_process(workers):
    results = list(unordered(Sent(), range(20), workers))
    assert sorted(item for _, _, item in results) == list(range(20))
    copies = {}
    for process, copy, _ in results:
        copies.setdefault(process, set()).add(copy)
    assert len(copies) <= workers
    assert all(len(own) == 1 for own in copies.values())


@pytest.mark.usefixtures("importable")
def test_a_slow_item_does_not_hold_up_the_others(tmp_path):
    results = unordered(until, [tmp_path / "file", None, None], 2)
    assert [next(results), next(results)] == [None, None]
    (tmp_path / "file").touch()
    assert list(results) == [tmp_path / "file"]


def test_items_in_any_order_are_made_when_their_turn_comes():
    class Made(list):
        taken = 0

        def __iter__(self):
            for item in super().__iter__():
                self.taken += 1
                yield item

    items = Made(range(20))
    for results, _ in enumerate(unordered(abs, items, 2), 1):
        assert items.taken <= results + 2 + 1


@pytest.mark.usefixtures("importable")
def test_a_process_that_dies_and_an_error_in_any_order_end_it():
    with pytest.raises(UserError, match="a worker process died"):
        list(unordered(dies, range(3), 2))
    with pytest.raises(ZeroDivisionError):
        list(unordered((1).__truediv__, [1, 0, 2], 2))
