"""The process that stages files for all ranks of a node, and ends with the rank that has started it."""

import logging
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from queue import SimpleQueue

from ...shards.engine import follow_parent
from ...shards.errors import UserError
from ...shards.messages import begin_printing, printing
from ...shards.redaction import redacted
from .stage import StagedSet, staging

LOG = logging.getLogger(__name__)
PATIENCE = 10  # nice: what a node computes goes before what it will read


class Stager:
    """A process that stages sets, one after the other. A note says why a file is not staged."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        theirs, self.pipe = context.Pipe(duplex=False)
        self.process = context.Process(target=_work, args=(theirs, printing()), name="viewstream-stager", daemon=True)
        self.process.start()
        theirs.close()

    def stage(self, files: StagedSet) -> None:
        """Stage a set after those before it."""
        with suppress(OSError):  # it has ended, as `ended` says
            self.pipe.send(files)

    @property
    def ended(self) -> str:
        """How the process has ended, "" while it runs."""
        code = self.process.exitcode
        if code is None:
            return ""
        return f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"


_of_node: list[Stager] = []


def stager() -> Stager | None:
    """The stager of this node, started if it is not there, in the process that has one; None in all others."""
    if int(os.environ.get("LOCAL_RANK", "0")):
        return None
    if not _of_node or _of_node[0].ended:
        _of_node[:] = [Stager()]
    return _of_node[0]


def _work(pipe: Connection, prints: bool) -> None:
    """The life of the process, which ends with the rank that has started it, however that ends, and `prints` its notes
    if that does."""
    if prints:
        begin_printing()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal: the rank ends this process
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.nice(PATIENCE)
    todo = SimpleQueue[StagedSet]()
    threading.Thread(target=follow_parent, daemon=True).start()
    threading.Thread(target=_receive, args=(pipe, todo), daemon=True).start()
    try:
        _stage_all(todo)
    except BaseException:  # a fault of ours, or of a library that shows addresses
        print(redacted(traceback.format_exc()), file=sys.stderr, flush=True)
        os._exit(1)


def _receive(pipe: Connection, todo: "SimpleQueue[StagedSet]") -> None:
    """Take sets at once, so that no rank waits with its next one."""
    with suppress(EOFError, OSError):
        while True:
            todo.put(pipe.recv())


def _stage_all(todo: "SimpleQueue[StagedSet]") -> None:
    while True:
        files = todo.get()
        source = files.source.show()
        try:
            for line in staging(files):
                _note(f"{line}: what is not staged is read from {source}")
        except (UserError, OSError) as error:
            _note(f"{error}: {source} is read without a stage")


def _note(text: str) -> None:
    LOG.warning(f"note: --stage: {text}")
