"""How long programs take to start, for suite.py: against Python and torch alone."""

import os
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from viewstream.tools.bench.measuring.apart import Case
from viewstream.tools.bench.measuring.machine import ROOT
from viewstream.tools.bench.measuring.rounds import compared
from viewstream.tools.bench.parts.sets import Setting

HERE = ROOT / "tools"  # its viewstream.py hands on this checkout, installed or not
FLOOR = "python, import torch"
RUN = ("--method", "moco", "--arch", "test_resnet", "--size", 32, "--bn-groups", 1, "--epochs", 1)


def groups(setting: Setting) -> dict[str, Case]:
    """Programs from their start to their end, with warm caches."""
    return {"start of programs": partial(starts, setting)}


def starts(setting: Setting) -> dict[str, Any]:
    """A round starts each program once; the last one trains for one step and saves its checkpoint."""
    data = setting.set(32, copies=1)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        train = (
            "trainers/train.py",
            *RUN,
            "--batch-size",
            len(data),
            "--queue",
            len(data),
            "--data",
            data.root,
            "--out",
            out,
        )
        commands: dict[str, tuple[object, ...]] = {
            FLOOR: ("-c", "import torch"),
            "import viewstream.shards": ("-c", "import viewstream.shards"),
            "every name of viewstream.pipeline": ("-c", "from viewstream.pipeline import *"),
            "inspect_shards.py --help": ("tools/inspect_shards.py", "--help"),
            "train.py --help": ("trainers/train.py", "--help"),
            "train.py, one step and its checkpoint": train,
        }
        todo = {name: partial(_started, out, words) for name, words in commands.items()}
        return compared(todo, setting.rounds, unit="start", floor=FLOOR)


def _started(out: Path, words: tuple[object, ...], number: int) -> float:
    """Run Python with `words` to its end; the folder of an earlier run is removed before."""
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, *map(str, words)]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}  # a warm cache of it
    done = subprocess.run(command, cwd=ROOT, env=env | {"PYTHONPATH": str(HERE)}, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command[1]} ended with code {done.returncode}: {done.stderr.strip()}")
    return 1.0
