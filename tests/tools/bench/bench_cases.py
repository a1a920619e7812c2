"""Cases that end in different ways; nothing here imports torch, so that a process of its own begins at once."""

import os
import subprocess
import sys
import time


def half():
    return {"checked": 50}


def broken():
    raise ValueError("no kernel")


def dead():
    os._exit(3)


def long(path):
    """Start a program that outlasts its time, and write its process id."""
    program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    path.write_text(str(program.pid))
    time.sleep(60)
