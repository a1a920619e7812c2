"""Runs work in processes or threads; results come back in order."""

import math
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from .errors import UserError

CHUNK, THREADS = 64, 16  # 16 requests in flight: on a network disk latency is the limit, not bandwidth
T = TypeVar("T")
R = TypeVar("R")


def cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Number of cores that this process may use, by its affinity and its container's quota (cgroup v2 or v1)."""
    allowed = len(os.sched_getaffinity(0))
    for files in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            quota, period = " ".join((cgroup / file).read_text() for file in files).split()
        except (OSError, ValueError):
            continue
        if quota not in ("max", "-1"):
            allowed = min(allowed, math.ceil(int(quota) / int(period)))
    return max(1, allowed)


def in_order(work: Callable[[T], R], items: Iterable[T], workers: int) -> Generator[R, None, None]:
    """Yield `work(item)` for each item, in order; at most `workers` + 2 items ahead of the caller, to bound the memory.

    Processes, not threads: the codecs release the interpreter's lock, the Python code around them does not (re-encoding
    on two cores: 212 img/s against 121-142). They are spawned, so the caller may have threads. UserError when a process
    dies.
    """
    if workers == 1:
        yield from map(work, items)
        return
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_begin)
    ahead: deque[Future[R]] = deque()
    try:
        for item in items:
            ahead.append(pool.submit(work, item))
            if len(ahead) > workers + 1:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    except BrokenProcessPool as error:
        raise UserError("a worker process died, perhaps for want of memory: try again with fewer --workers") from error
    finally:
        pool.shutdown(cancel_futures=True)


def threaded(work: Callable[[T], R], items: Sequence[T]) -> Generator[R, None, None]:
    """Yield `work(item)` for each item, in order, from threads, with a progress bar; the first error ends it."""

    def some(at: int) -> list[R]:
        return [work(item) for item in items[at : at + CHUNK]]

    pool = ThreadPoolExecutor(THREADS)
    try:
        with tqdm(total=len(items), unit="img", disable=None) as bar:
            for made in pool.map(some, range(0, len(items), CHUNK)):
                yield from made
                bar.update(len(made))
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """Start a worker process: it leaves Ctrl-C to its parent and exits when the parent does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow, daemon=True).start()


def _follow() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
