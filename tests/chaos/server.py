"""A process that has imported all programs and forks for each run, below shim.c: a run costs no start.

Reads one JSON object per line: argv, cwd, output, and what shim.c shall do: root, fail, error, sticky, trace. Answers
with code and count, the operations below the root.
"""

import atexit
import ctypes
import json
import os
import runpy
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import torch
from PIL import Image

from viewstream.pipeline.kernels import warm_up
from viewstream.shards.encoding import shrink

ROOT = Path(__file__).parents[2]
LATE = """viewstream.shards.building.build viewstream.trainers.checkpoints.manager viewstream.trainers.tasks.run
viewstream.trainers.training.run viewstream.pipeline.static.write viewstream.pipeline.static.describe
viewstream.tools.look_sheet viewstream.tools.look_views viewstream.tools.inspect_figure timm torch._dynamo
torch.utils.tensorboard matplotlib.figure matplotlib.backends.backend_agg pyarrow.compute"""  # imported late


class State(ctypes.Structure):
    """As in shim.c."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("count", "fail")),
        *((name, ctypes.c_int32) for name in ("error", "sticky", "trace")),
        ("root", ctypes.c_char * 4096),
    )


def work(job: dict, state: State) -> None:
    """What a fork does: the program, as a shell would start it."""
    os.chdir(job["cwd"])
    output = os.open(job["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    trace = job["trace"]
    state.trace = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) if trace else -1
    state.fail, state.error, state.sticky = job["fail"], job["error"], job["sticky"]
    state.count, state.root = 0, job["root"].encode()
    sys.argv = job["argv"]
    runpy.run_path(str(ROOT / job["argv"][0]), run_name="__main__")


def end(work: Callable[..., None], *args: Any) -> NoReturn:
    """End this process after `work` as the interpreter does, without freeing every object, which takes a second."""
    code = 0
    try:
        work(*args)
    except SystemExit as done:
        code = done.code if isinstance(done.code, int) else int(done.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # pyright: ignore[reportAttributeAccessIssue]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main() -> None:
    shim = ctypes.CDLL(None)
    shim.chaos_state.restype = ctypes.POINTER(State)
    state = shim.chaos_state().contents
    for name in LATE.split():
        with suppress(ModuleNotFoundError):
            import_module(name)
    Image.init()
    warm_up(rendering=True)
    shrink.warm_up()
    assert torch.get_num_threads() == 1
    print("ready", flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        if (child := os.fork()) == 0:
            end(work, job, state)
        _, status = os.waitpid(child, 0)
        state.root = b""
        answer = {"code": os.waitstatus_to_exitcode(status), "count": state.count}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
