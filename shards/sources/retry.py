"""Remote reads and fetches are tried again after pauses."""

from collections.abc import Callable
from threading import Event
from typing import TypeVar

T = TypeVar("T")
PAUSES = (0.5, 2.0, 8.0)  # seconds before each new try


class Stopped(Exception):
    """The caller's stop event was set before the work was done."""


def retry(attempt: Callable[[], T], pauses: tuple[float, ...] = PAUSES, stop: Event | None = None) -> T:
    """Call `attempt()` until it succeeds, and return its result.

    After an OSError it is called again, at most once per pause [s]; the last error is raised. FileNotFoundError,
    PermissionError and every other kind of error are raised at once, because a new try would not help. Stopped is
    raised before the next try once `stop` is set.
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
