"""Several processes of one program on this machine, as `--ranks N` asks for; torchrun starts those of several machines.

They find each other through a file, so no port has to be free, and in everything else see what torchrun would set.
"""

import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NoReturn

from ..shards.engine import follow_parent
from ..shards.errors import UserError
from ..shards.exits import conclude, hush, outcome
from ..shards.redaction import redacted

STORE = "VIEWSTREAM_STORE"  # the variable that names the file
_to_launcher: list[Connection] = []  # of a rank that `launch` has started: the pipe of its last words


def launch(work: Callable[..., Any], *arguments: Any, ranks: int) -> None:
    """`work(*arguments)` on each of `ranks` processes; a failure of one ends the others and exits with its code.

    What the rank has to say comes last. SIGTERM and SIGINT are passed on to all ranks, which end with this process.
    UserError if torchrun has started several processes already.
    """
    if ranks == 1:
        work(*arguments)
        return
    if "WORLD_SIZE" in os.environ:
        raise UserError("torchrun has started the processes: leave out --ranks, or start without torchrun")
    task = pickle.dumps((work, arguments))
    started: dict[Any, BaseProcess] = {}  # by the pipes that last words come through
    with tempfile.TemporaryDirectory(prefix="viewstream-") as folder:
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # in the ranks too, until they have left this terminal's group
            for rank in range(ranks):
                started |= _start(task, rank, ranks, Path(folder) / "store")
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda number, _: _pass_on(number, started.values()))
            code, words = _first_failure(started)
        finally:
            for process in started.values():
                process.kill()
                process.join()
    if code:
        print(words, file=sys.stderr, flush=True)
        sys.exit(code)


def _start(task: bytes, rank: int, ranks: int, store: Path) -> dict[Any, BaseProcess]:
    """A process for one rank, by its pipe."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks, STORE: f"file://{store}"}
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_rank, args=(task, theirs, {name: str(value) for name, value in names.items()}))
    process.start()
    theirs.close()
    return {ours: process}


def _rank(task: bytes, words: Connection, environment: dict[str, str]) -> None:
    """The life of one rank."""
    _to_launcher.append(words)
    os.setpgrp()  # so that Ctrl-C arrives once, from the process that started this one
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _ended)  # until training can save
    multiprocessing.set_start_method(None, force=True)  # locks of spawned processes outlive a kill, with a warning
    threading.Thread(target=follow_parent, daemon=True).start()
    os.environ.update(environment)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # pyright: ignore[reportAttributeAccessIssue]
    hush()

    def run() -> None:
        work, arguments = pickle.loads(task)
        work(*arguments)

    try:
        code, last = outcome(run)
    except BaseException:
        code, last = 1, redacted(traceback.format_exc().rstrip())
    if code:
        end(code, last)


def _ended(number: int, _: Any) -> None:
    """End at a signal, but not before the launcher ends all: a rank that is gone lets others fail in a collective."""
    end(128 + number, f"error: ended by {signal.Signals(number).name}")


def end(code: int, words: str) -> NoReturn:
    """End this process, from any of its threads, and with it the job: `code` is an error, `words` come last."""
    for pipe in _to_launcher:
        pipe.send((code, words))
        follow_parent()  # it ends all ranks at once: none sees that another is gone and adds an error of its own
    try:
        conclude(code, words)
    finally:
        os._exit(code)  # the main thread may be what hangs


def _first_failure(ranks: dict[Any, BaseProcess]) -> tuple[int, str]:
    """Wait until all ranks have ended well or one has not: its exit code and last words."""
    left: dict[Any, BaseProcess] = dict(ranks)
    pipe: Any
    while left:
        for pipe in wait([*left]):
            process = left.pop(pipe)
            try:
                return pipe.recv()
            except EOFError:
                process.join()
            if code := process.exitcode:
                number = list(ranks).index(pipe)
                cause = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
                memory = ", perhaps for lack of memory" if code == -signal.SIGKILL else ""
                return (code if code > 0 else 128 - code), f"error: rank {number} {cause}{memory}"
    return 0, ""


def _pass_on(number: int, processes: Any) -> None:
    for process in processes:
        if process.is_alive():
            os.kill(process.pid, number)
