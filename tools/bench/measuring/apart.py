"""A function in a process of its own, of which nothing goes on after its time is over."""

import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

Case = Callable[[], dict[str, Any]]
LEAVING = 5.0  # seconds in which a process may end by itself, so that it removes its semaphores


def apart(case: Case, seconds: float) -> dict[str, Any]:
    """The figures of a case in a process of its own, or its `error`; it ends with all that it has started."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_send, args=(case, theirs))
    process.start()
    theirs.close()
    pid = process.pid
    assert pid
    try:
        if not ours.poll(seconds):
            return {"error": f"not finished after {seconds:.0f} s"}
        found = ours.recv()
        process.join(LEAVING)
        return found
    except EOFError:
        process.join()
        return {"error": f"the process died with code {process.exitcode}"}
    finally:
        with suppress(ProcessLookupError):  # of a process without a group of its own yet, or whose group is empty
            os.killpg(pid, signal.SIGKILL)
        process.kill()
        process.join()


def _send(case: Case, pipe: Connection) -> None:
    os.setpgrp()  # one group with the programs that it starts
    try:
        found = case()
        sys.stdout.flush()  # the process may be ended once its figures are here
        pipe.send(found)
    except BaseException as error:
        traceback.print_exc()
        pipe.send({"error": f"{type(error).__name__}: {error}"[:500]})
