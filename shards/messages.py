"""What library code has to say: messages of the standard `logging`, which the programs of this project print.

A module logs by its own name, below "viewstream": `info` is a fact, `warning` a note or a warning. Other projects see
nothing of it until they set up logging, as `logging.basicConfig(level=logging.INFO)` does.
"""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

QUIET = "VIEWSTREAM_QUIET"  # `answer`: progress and notes are left out; `all`: what a program prints too
_LOGGER = logging.getLogger("viewstream")


class _Printer(logging.Handler):
    """Prints facts on standard output, notes and warnings on standard error, above a progress bar."""

    aside = False  # facts go to standard error too

    def emit(self, record: logging.LogRecord) -> None:
        from .progress import print_above  # imports tqdm, which `--help` does without

        text = record.getMessage()
        if not (os.environ.get(QUIET) and text.startswith("note: ")):
            print_above(text, sys.stderr if self.aside or record.levelno >= logging.WARNING else sys.stdout)


_printer = _Printer()


def printing() -> bool:
    """Whether this process prints its messages, as programs do."""
    return _printer in _LOGGER.handlers


def begin_printing() -> None:
    """Print the messages of this process from here on."""
    _LOGGER.addHandler(_printer)
    _LOGGER.setLevel(logging.INFO)
    _LOGGER.propagate = False  # to handlers that some library gave the root, which would print them again


@contextmanager
def printed() -> Iterator[None]:
    """Print the messages of this process within the block."""
    if printing():
        yield
        return
    before = _LOGGER.level, _LOGGER.propagate
    begin_printing()
    try:
        yield
    finally:
        _LOGGER.removeHandler(_printer)
        _LOGGER.level, _LOGGER.propagate = before


@contextmanager
def aside() -> Iterator[None]:
    """Print facts on standard error too within the block, for a program whose standard output is one JSON document."""
    _printer.aside = True
    try:
        yield
    finally:
        _printer.aside = False
