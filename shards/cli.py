"""Command lines from frozen dataclasses: one flag per field; `Annotated[int, "help", 1]` gives help text and minimum.

`Annotated[Path, "help", Positional]` is a required word without a flag. A field of type `bool | Literal["release"]` is
a flag that is true alone and may take the word; one of type `int | Literal["auto"]` takes a number or the word.
"""

import argparse
import dataclasses
import difflib
import errno
import json
import os
import select
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, NoReturn, TextIO, get_args, get_origin, get_type_hints

from .errors import UserError, missing
from .programs import as_typed
from .redaction import redacted
from .values import converter, metavar

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


@dataclasses.dataclass(frozen=True)
class Renamed:
    """Marks a field whose flag had another name before, which still works: `Renamed("recipe")` keeps `--recipe`."""

    old: str


class Positional:
    """Marks a field that is given by its place, as DIR in `inspect_shards.py DIR`; its default is never used."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (--help lists the options)")


def parse(*options: Any, argv: Sequence[str] | None = None, description: str) -> tuple[Any, ...]:
    """Copies of the dataclass instances `options`: their values are the defaults, the command line changes some.

    UserError for an unknown flag or a value that does not fit its field.
    """
    parser = _Parser(
        description=as_typed(description), allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for instance in options:
        section = parser.add_argument_group((type(instance).__doc__ or "").partition("\n")[0])
        _add_flags(section, instance)
    words = [str(action.metavar) for action in parser._get_positional_actions()]
    parser.usage = " ".join(["%(prog)s", "[options]", *words])  # the sections list every flag
    parsed, unknown = parser.parse_known_args(argv)
    for word in unknown:
        _refuse(word.partition("=")[0], parser)
    given = vars(parsed)
    fields = [{field.name for field in _flags(instance)} for instance in options]
    return tuple(
        dataclasses.replace(instance, **{k: v for k, v in given.items() if k in own})
        for instance, own in zip(options, fields, strict=True)
    )


def _refuse(word: str, parser: argparse.ArgumentParser) -> NoReturn:
    """UserError for a word that is no option, with the nearest one."""
    near = difflib.get_close_matches(word, parser._option_string_actions, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    raise UserError(f"unknown option {word!r}: {hint}--help lists the options")


def parser_of(main: Callable[[], None]) -> argparse.ArgumentParser:
    """The parser that a program makes when it is asked for help."""
    made: list[argparse.ArgumentParser] = []
    words, show = sys.argv, _Parser.print_help
    sys.argv, _Parser.print_help = [words[0], "--help"], lambda self, file=None: made.append(self)
    try:
        main()
    except SystemExit:
        pass
    finally:
        sys.argv, _Parser.print_help = words, show
    return made[0]


def peek(options: Any, argv: Sequence[str] | None = None) -> Any:
    """A copy of `options` with the values of its own flags on the command line; all other words wait for `parse`."""
    parser = _Parser(add_help=False, allow_abbrev=False)
    _add_flags(parser, options)
    return dataclasses.replace(options, **vars(parser.parse_known_args(argv)[0]))


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
        sys.stderr.write(f"note: {refusal(error)}\n")
    elif error is not None:
        _show(failed.exc_type, error, failed.exc_traceback)


def outcome(main: Callable[[], None]) -> tuple[int, str]:
    """Run `main`; returns the exit code and the last words, which are empty if all is well."""
    threading.excepthook = _show_of_thread
    try:
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
    except KeyboardInterrupt:
        return 130, "interrupted"
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


def _flags(options: Any) -> list[dataclasses.Field[Any]]:
    """The fields that are flags: those that `__init__` takes; the class itself sets the others."""
    return [field for field in dataclasses.fields(options) if field.init]


def _add_flags(section: argparse._ActionsContainer, options: Any) -> None:
    hints = get_type_hints(type(options), include_extras=True)
    for field in _flags(options):
        _add_flag(section, field, hints[field.name], getattr(options, field.name))


def _add_flag(section: argparse._ActionsContainer, field: dataclasses.Field[Any], hint: Any, default: Any) -> None:
    text, marks = "", []
    if get_origin(hint) is Annotated:
        hint, text, *marks = get_args(hint)
    minimum = next((mark for mark in marks if isinstance(mark, int | float)), None)
    old = [mark.old for mark in marks if isinstance(mark, Renamed)]
    kwargs: dict[str, Any] = {"default": argparse.SUPPRESS}
    if hint is bool:
        kwargs |= {"action": argparse.BooleanOptionalAction}
    else:
        kwargs |= {"type": converter(hint, minimum), "metavar": metavar(hint)}
    if bool in get_args(hint):
        kwargs |= {"nargs": "?", "const": True}
    if Positional in marks:
        section.add_argument(field.name, **kwargs | {"metavar": field.name.upper(), "help": text.replace("%", "%%")})
        return
    shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
    text += f" ({shown})" if default not in (None, "", False, ()) else ""
    text += "".join(f"; --{name} is its old name" for name in old)
    flags = [f"--{name.replace('_', '-')}" for name in (field.name, *old)]
    section.add_argument(*flags, dest=field.name, help=as_typed(text).replace("%", "%%"), **kwargs)
