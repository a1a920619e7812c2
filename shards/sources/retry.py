"""Remote reads, fetches and writes are tried again: a few times when a connection breaks, with patience when a server
asks for it by 429 or 503 (S3 calls that SlowDown). This is the one policy: `servers.py` turns off what libraries have.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from functools import cache
from hashlib import blake2b
from threading import Event
from typing import TypeVar

from ..errors import UserError

LOG = logging.getLogger(__name__)

T = TypeVar("T")
PAUSES = (0.5, 2.0, 8.0)  # seconds before each new try after a broken connection
FIRST, MOST = 1.0, 32.0  # seconds that a throttling server is left alone, doubled up to the second number
ASKED = 300.0  # seconds: Retry-After is honored up to here
PATIENCE = 480.0  # seconds without one good answer; less than --watchdog, whose end would not name the server
NOTED = 10.0  # seconds: a pause of this length is worth a note

_since: dict[str, float] = {}  # server -> when it began to throttle, with no good answer since


class Stopped(Exception):
    """The caller's stop event was set before the work was done."""


class Throttled(OSError):
    """A server asks for fewer requests, and for `after` seconds without one, if it names a time."""

    def __init__(self, message: str, after: float | None = None):
        super().__init__(message)
        self.after = after


def retry(
    attempt: Callable[[], T],
    pauses: tuple[float, ...] = PAUSES,
    stop: Event | None = None,
    server: str = "",
    patience: float = PATIENCE,
) -> T:
    """Call `attempt()` until it succeeds, and return its result.

    After an OSError it is called again, at most once per pause [s]; the last error is raised. FileNotFoundError,
    PermissionError and every other kind of error are raised at once, because a new try would not help. Throttled uses
    up no pause: it is called again until `server` has given no good answer to this process for `patience` seconds,
    which is a UserError. Stopped is raised before the next try once `stop` is set.
    """
    stop, left, throttled = stop or Event(), iter(pauses), 0
    while not stop.is_set():
        try:
            result = attempt()
            _since.pop(server, None)
            return result
        except (FileNotFoundError, PermissionError):
            raise
        except Throttled as error:
            until = _since.setdefault(server, time.monotonic()) + patience
            if (rest := until - time.monotonic()) <= 0:
                raise UserError(
                    f"{server} has refused requests for {patience:g} seconds ({error}): "
                    "try again later, or with fewer processes at a time"
                ) from error
            pause = min(throttle_pause(throttled, error.after), rest)
            throttled += 1
            if pause >= NOTED:
                _note(server, str(error))
        except OSError:
            if (pause := next(left, None)) is None:
                raise
        stop.wait(pause)
    raise Stopped


def throttle_pause(times: int, after: float | None) -> float:
    """Seconds until the next try of a server that has throttled this call `times` times before: what it asks for, or
    twice the last pause, and up to half more, keyed by host, process and thread: 1,000 ranks do not return at once."""
    least = min(FIRST * 2.0**times, MOST) if after is None else min(max(after, 0.0), ASKED)
    who = f"{socket.gethostname()} {os.getpid()} {threading.get_ident()} {times}"
    part = int.from_bytes(blake2b(who.encode(), digest_size=8).digest()) / 2**64
    return least + part * max(FIRST, least / 2)


@cache
def _note(server: str, reason: str) -> None:
    """Once per server and reason: why nothing seems to happen."""
    if os.environ.get("RANK", "0") == "0":
        LOG.warning(f"note: {server} asks for fewer requests ({reason}): reads wait for it")
