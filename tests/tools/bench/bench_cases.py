"""Cases that end in different ways; nothing here imports torch, so that a process of its own begins at once."""

import multiprocessing
import os
import subprocess
import sys
import time
from multiprocessing.util import Finalize

LOCKS = []


def half():
    return {"checked": 50}


def broken():
    raise ValueError("no kernel")


def dead():
    os._exit(3)


def locked():
    """Make a semaphore and keep it until the end, as tqdm does; the end takes a while, as that of torch does."""
    LOCKS.append(multiprocessing.RLock())
    Finalize(None, time.sleep, (0.5,), exitpriority=1)
    return {"semaphore": LOCKS[0]._semlock.name.removeprefix("/")}


def long(path):
    """Start a program that outlasts its time, and write its process id."""
    program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    path.write_text(str(program.pid))
    time.sleep(60)
