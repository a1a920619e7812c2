"""Work on several processes or threads, with results in order or as they come."""

import math
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from functools import wraps
from itertools import islice
from multiprocessing import connection
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from .errors import UserError
from .messages import begin_printing, printing
from .progress import Bar

DEAD = "a worker process died, perhaps for lack of memory: try again with fewer --workers"
CHUNK, THREADS = 64, 16  # 16 requests in flight: on a network disk latency is the limit, not bandwidth
T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")


def cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores that this process may use, by its affinity and its container's quota (cgroup v2 or v1)."""
    allowed = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )  # macOS has none
    for files in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            quota, period = " ".join((cgroup / file).read_text() for file in files).split()
        except (OSError, ValueError):
            continue
        if quota not in ("max", "-1"):
            allowed = min(allowed, math.ceil(int(quota) / int(period)))
    return max(1, allowed)


def cancel(tasks: Sequence[Future[Any]]) -> None:
    """Cancel the tasks that have not begun and wait for the others."""
    wait([task for task in tasks if not task.cancel()])


def begun(
    work: Callable[P, Generator[T | None, None, None]],
) -> Callable[P, Generator[T, None, None]]:
    """Let a generator function run up to its first `yield`, an empty one, when it is called.

    So work begins before the first item is asked for, and an iterator that is closed or dropped before that ends what
    it began. An error on the way there comes at the first `next`.
    """

    def failed(error: Exception) -> Generator[Any, None, None]:
        yield from ()
        raise error

    @wraps(work)
    def call(*args: P.args, **kwargs: P.kwargs) -> Generator[Any, None, None]:
        items = work(*args, **kwargs)
        try:
            next(items)
        except Exception as error:
            return failed(error)
        return items

    return call


@begun
def prefetch(
    items: Iterable[T],
    start: Callable[[T], Sequence[Future[R]]],
    depth: int,
    stop: Callable[[Sequence[Future[Any]]], None] = cancel,
) -> Generator[tuple[T, Sequence[Future[R]]] | None, None, None]:
    """Each item with its tasks, in order; `start(item)` submits the tasks, `depth` items ahead of the consumer, the
    first `depth` of them at the call.

    Tasks may still run when they are yielded. On an early close or an error, `stop` ends the tasks of all items that
    the consumer has not gone past, so that no task outlives the memory that it writes to.
    """
    started: deque[tuple[T, Sequence[Future[R]]]] = deque()
    following = iter(items)
    try:
        for item in islice(following, depth):
            started.append((item, start(item)))
        yield
        for item in following:
            started.append((item, start(item)))
            yield started[0]  # held until the consumer asks for the next
            started.popleft()
        while started:
            yield started[0]
            started.popleft()
    finally:
        stop([task for _, tasks in started for task in tasks])


def in_order(work: Callable[[T], R], items: Iterable[T], workers: int) -> Generator[R, None, None]:
    """`work(item)` for each item, in order, by processes. At most `workers` + 2 items are in memory.

    Processes, not threads: the codecs release the interpreter's lock, the Python around them does not (re-encoding on
    two cores: 212 img/s against 121-142). They are spawned, so the caller may have threads. UserError if one dies.
    """
    if workers == 1:
        yield from map(work, items)
        return
    pool = _processes(workers)

    def stop(_: object) -> None:  # not `cancel`: the thread that breaks a pool fails at a task that was canceled
        pool.shutdown(cancel_futures=True)

    try:
        with closing(prefetch(items, lambda item: [pool.submit(work, item)], workers + 1, stop)) as started:
            for _, (task,) in started:
                yield task.result()
    except BrokenProcessPool as error:
        raise UserError(DEAD) from error


def unordered(work: Callable[[T], R], items: Sequence[T], workers: int) -> Generator[R, None, None]:
    """`work(item)` for each item, as they finish, by processes. `work` is sent to each process once: it may be large.

    An item is asked of `items` when its turn comes, so it may be made then; at most `workers` + 1 are in memory. The
    first error ends it, after what runs has finished. UserError if a process dies.
    """
    if workers == 1:
        yield from map(work, items)
        return
    pool = _processes(workers, work)
    following, running = iter(items), set[Future[R]]()
    try:
        while True:
            running |= {pool.submit(_sent, item) for item in islice(following, workers + 1 - len(running))}
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for task in done:
                yield task.result()
    except BrokenProcessPool as error:
        raise UserError(DEAD) from error
    finally:
        pool.shutdown(cancel_futures=True)


def threaded(work: Callable[[T], R], items: Sequence[T]) -> Generator[R, None, None]:
    """`work(item)` for each item, in order, by threads, with a progress bar. The first error ends it."""

    def chunk(at: int) -> list[R]:
        return [work(item) for item in items[at : at + CHUNK]]

    pool = ThreadPoolExecutor(THREADS)
    try:
        with Bar(len(items), "img") as bar:
            for results in pool.map(chunk, range(0, len(items), CHUNK)):
                yield from results
                bar.update(len(results))
    finally:
        pool.shutdown(cancel_futures=True)


def _processes(workers: int, work: Callable[[Any], Any] | None = None) -> ProcessPoolExecutor:
    spawned = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, spawned, initializer=_begin, initargs=(work, printing()))


_work: Callable[[Any], Any] | None = None  # of this worker process of `unordered`


def _sent(item: Any) -> Any:
    """The work that was sent to this process, on one item."""
    assert _work is not None
    return _work(item)


def _begin(work: Callable[[Any], Any] | None, prints: bool) -> None:
    """Let a worker ignore Ctrl-C, which its parent handles, and end with its parent; keep the work that it is for.
    It `prints` its messages if its parent does."""
    global _work
    _work = work
    if prints:
        begin_printing()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=follow_parent, daemon=True).start()


def follow_parent() -> None:
    """Wait for the end of the process that started this one, then end."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
