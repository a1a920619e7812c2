"""How a program ends: exit codes and last words."""

import errno
import json
import logging
import os
import select
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import NoReturn, TextIO

from .errors import UserError, missing
from .messages import QUIET, printed
from .redaction import redacted

LOG = logging.getLogger(__name__)
CLOSED = 141  # 128 + SIGPIPE
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
REFUSED = {  # what a file system refuses for reasons of its own, and the remedy
    **dict.fromkeys(FULL, "free some space"),
    errno.EIO: "check the disk or the network disk (`dmesg`)",
    errno.ESTALE: "check the disk or the network disk (`dmesg`)",
    errno.EROFS: "name a place that may be written",
    errno.EACCES: "check its permissions, or name another place",
    errno.EPERM: "check its permissions, or name another place",
    errno.EMFILE: "raise the limit of open files (`ulimit -n`)",
    errno.ENFILE: "raise the limit of open files (`ulimit -n`)",
}


def run(main: Callable[[], None]) -> NoReturn:
    """Run a program to its exit: a UserError becomes one line and code 2, Ctrl-C code 130.

    Once the reader of a pipe is gone (`| head`), it ends quietly with code 141, as programs do that SIGPIPE ends.
    VIEWSTREAM_TRACE=1 shows where an error was raised.
    """
    sys.excepthook = _show
    conclude(*outcome(main))


def conclude(code: int, words: str) -> NoReturn:
    """End the program with an exit code and its last words, which go where the launcher of several ranks looks too."""
    if several := int(os.environ.get("WORLD_SIZE", "1")) > 1:
        words = words.replace("error", f"error on rank {os.environ['RANK']}", 1)
    if several and code:
        _record(words)
    if error := _flushed(sys.stdout):
        closed = isinstance(error, BrokenPipeError)
        code, words = code or (CLOSED if closed else 2), words or ("" if closed else f"error: {refusal(error)}")
    if _flushed(sys.stderr, words and f"{words}\n"):
        code = code or CLOSED
    if several and code:
        os._exit(code)  # an orderly exit from the process group would wait for peers that wait for this rank
    sys.exit(code)


def _flushed(stream: TextIO, text: str = "") -> OSError | None:
    """Write `text` and what waits to be written; the error if there is one, which a shutdown would show as a trace."""
    try:
        stream.write(text)
        stream.flush()
    except OSError as error:  # of a closed pipe, or a full disk
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return error
    return None


def _show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an error that is a fault of ours, without the passwords of addresses."""
    sys.stderr.write(redacted("".join(traceback.format_exception(kind, error, trace))))


def _show_of_thread(failed: threading.ExceptHookArgs) -> None:
    """The same for a thread, as those of libraries; what a disk refuses is one line there too."""
    error = failed.exc_value
    if isinstance(error, OSError) and error.errno in REFUSED and not os.environ.get("VIEWSTREAM_TRACE"):
        LOG.warning(f"note: {refusal(error)}")
    elif error is not None:
        _show(failed.exc_type, error, failed.exc_traceback)


def outcome(main: Callable[[], None]) -> tuple[int, str]:
    """Run `main`; returns the exit code and the last words, which are empty if all is well."""
    threading.excepthook = _show_of_thread
    try:
        with printed():
            main()
    except SystemExit as end:  # after --help, and after the ranks of `--ranks` have ended
        return int(end.code or 0), ""
    except (UserError, ModuleNotFoundError) as error:
        message = missing(error) if isinstance(error, ModuleNotFoundError) else error
        if message is None or os.environ.get("VIEWSTREAM_TRACE"):
            raise
        return 2, f"error: {message}"
    except BrokenPipeError:
        if not _reader_gone():
            raise
        return CLOSED, ""
    except OSError as error:
        if error.errno not in REFUSED or os.environ.get("VIEWSTREAM_TRACE"):
            raise
        return 2, f"error: {refusal(error)}"
    except KeyboardInterrupt as interrupt:
        return 130, f"interrupted: {interrupt}" if interrupt.args else "interrupted"
    return 0, ""


def refusal(error: OSError) -> str:
    """What a file system refused, in one line."""
    file = "a file, or standard output," if error.filename is None else redacted(os.fsdecode(error.filename))
    remedy = REFUSED.get(error.errno or 0, "mend that")
    return f"{file} cannot be read or written ({error.strerror or error}): {remedy}, then start again"


def _reader_gone() -> bool:
    """Whether standard output or standard error is a pipe that its reader has closed."""
    ends = select.poll()
    for stream in (1, 2):
        ends.register(stream, select.POLLOUT)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in ends.poll(0))


def _record(words: str) -> None:
    """Leave the last words where torchrun looks for them: it prints them at the end of its own report."""
    file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if file:
        extra = {"py_callstack": words, "timestamp": str(int(time.time()))}
        with suppress(OSError):
            Path(file).write_text(json.dumps({"message": {"message": words, "extraInfo": extra}}))


def hush() -> None:
    """Make this process as quiet as the environment says, which its children inherit."""
    if level := os.environ.get(QUIET):
        os.environ["TQDM_DISABLE"] = "1"
        if level == "all":
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (until the process ends)
