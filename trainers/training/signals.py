"""SIGTERM and Ctrl-C in training: save, then end."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..ranks import rank
from .log import Log

AGAIN = 1.0  # seconds in which the same Ctrl-C may reach a rank twice: from the terminal and from its launcher


@contextmanager
def stopping(log: Log) -> Iterator[set[int]]:
    """Let SIGTERM, which schedulers send before pre-emption, and Ctrl-C save the run and end it at its next log line; a
    second Ctrl-C ends it at once. Yields the set of signals received."""
    received: set[int] = set()
    first = float("inf")

    def stop(number: int, _: Any) -> None:
        nonlocal first
        if number == signal.SIGINT and time.monotonic() - first > AGAIN:
            raise KeyboardInterrupt
        if number == signal.SIGINT and number not in received:
            first = time.monotonic()
            if not rank():  # print is no function for a signal handler
                os.write(2, f"\nCtrl-C: saves within {log.every} steps and ends; once more ends at once\n".encode())
        received.add(number)
        log.stop = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
