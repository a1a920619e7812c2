"""Remote reads and fetches are tried again after pauses."""

from collections.abc import Callable
from threading import Event
from typing import TypeVar

T = TypeVar("T")
PAUSES = (0.5, 2.0, 8.0)  # seconds before each new try


class Stopped(Exception):
    """The caller's stop event was set before the work was done."""


def retry(attempt: Callable[[], T], pauses: tuple[float, ...] = PAUSES, stop: Event | None = None) -> T:
    """What `attempt()` returns; after an OSError it is called again, once per pause [s], then its error is raised.

    FileNotFoundError, PermissionError and all that is no OSError are raised at once, because a new try would not help.
    Stopped before the next try once `stop` is set.
    """
    stop, left = stop or Event(), iter(pauses)
    while not stop.is_set():
        try:
            return attempt()
        except (FileNotFoundError, PermissionError):
            raise
        except OSError:
            if (pause := next(left, None)) is None:
                raise
        stop.wait(pause)
    raise Stopped
