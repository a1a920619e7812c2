"""Programs as processes: their options as words, their end, and the time that they took."""

import os
import subprocess
import time
from collections.abc import Callable, Mapping


def words(options: Mapping[str, object]) -> list[str]:
    """Options as words of a command line."""
    flags = [(f"--{name.replace('_', '-')}", value) for name, value in options.items()]
    return [word for flag, value in flags for word in ([flag] if value is True else [flag, str(value)])]


def none() -> int:
    """No signal."""
    return 0


def ended(running: "subprocess.Popen[bytes]", watch: Callable[[], int]) -> tuple[int, float, bool]:
    """(exit code, processor seconds, whether a signal of `watch` ended it) of a program."""
    sent = set[int]()
    while True:
        pid, status, used = os.wait4(running.pid, os.WNOHANG)
        if pid:
            running.returncode = os.waitstatus_to_exitcode(status)
            return running.returncode, used.ru_utime + used.ru_stime, -running.returncode in sent
        if number := watch():
            running.send_signal(number)
            sent.add(number)
        time.sleep(0.1)
