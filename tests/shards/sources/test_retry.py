"""The one retry of remote reads and fetches."""

import threading

import pytest

from viewstream.shards.errors import UserError
from viewstream.shards.sources.retry import Stopped, retry


def failing(*errors):
    """A function that raises these errors, one per call, and then returns; `left` are those to come."""
    left = list(errors)

    def attempt():
        if left:
            raise left.pop(0)
        return "done"

    attempt.left = left
    return attempt


def test_an_attempt_is_repeated_once_per_pause():
    assert retry(failing(), ()) == "done"
    assert retry(failing(OSError(), TimeoutError()), (0.0, 0.0)) == "done"
    with pytest.raises(OSError, match="third"):
        retry(failing(OSError("first"), OSError("second"), OSError("third")), (0.0, 0.0))


@pytest.mark.parametrize("error", [FileNotFoundError, PermissionError, UserError, MemoryError])
def test_an_error_that_a_new_try_cannot_mend_is_raised_at_once(error):
    attempt = failing(error(), OSError())
    with pytest.raises(error):
        retry(attempt, (60.0,))
    assert len(attempt.left) == 1


def test_a_stop_event_ends_the_pause():
    stop, failed = threading.Event(), threading.Event()

    def attempt():
        failed.set()
        raise OSError

    def stop_after_the_failure():
        failed.wait(30)
        stop.set()

    thread = threading.Thread(target=stop_after_the_failure)
    thread.start()
    with pytest.raises(Stopped):
        retry(attempt, (600.0,), stop)
    thread.join()


def test_no_attempt_is_made_after_a_stop():
    attempt, stop = failing(OSError()), threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        retry(attempt, (0.0,), stop)
    assert attempt.left
