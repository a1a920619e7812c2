"""Runs that are stopped or killed at a step, and the comparison with whole ones."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

from ..small_runs import losses, rows

ROOT = Path(__file__).parents[3]


def start(command, ranks=1, **options):
    """Start a command and return its process."""
    program = [sys.executable]
    if ranks > 1:
        program += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([*program, *map(str, command)], cwd=ROOT, env=environment, **options)


def reached(folder, step):
    return (folder / "log.jsonl").exists() and max(losses(folder), default=0) >= step


def kill_at(step, folder, command, ranks=1):
    """Run a command until a step is logged in `folder` and a checkpoint is on disk, then kill all its processes."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    running = start(command, ranks, start_new_session=True, **quiet)
    while running.poll() is None and not (reached(folder, step) and (folder / "last.pt").exists()):
        time.sleep(0.02)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()


def assert_same(first, second):
    """Two runs of 12 steps have logged each step once, have the same losses and end with the same tensors."""
    for folder in (first, second):
        assert [row["step"] for row in rows(folder)] == [*range(1, 13)]
    assert losses(first) == losses(second)
    a, b = (torch.load(folder / "last.pt", weights_only=True) for folder in (first, second))
    assert a["step"] == b["step"] == 12
    assert all(torch.equal(a["method"][k], b["method"][k]) for k in a["method"])
