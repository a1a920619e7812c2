"""The folder of a run: one trainer at a time."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from ...shards.errors import UserError
from ...shards.files import lock, writing
from ..ranks import rank, shared


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold `folder` for the ranks of this run; made if absent, and removed again if the run wrote nothing.

    UserError, on every rank, if another process trains there or it cannot be written. The kernel ends the claim with
    the process of rank 0.
    """
    with ExitStack() as stack:
        refusal = ""
        if not rank():
            try:
                stack.enter_context(_locked(folder))
            except UserError as error:
                refusal = str(error)
        if refusal := shared(refusal):
            raise UserError(refusal)
        yield


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock the log of the run, a file that is only ever appended to."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: name a folder with --out")
    path = folder / "log.jsonl"
    with writing(path):
        folder.mkdir(parents=True, exist_ok=True)
        log = path.open("a")
    with log:
        lock(log, f"another process trains in {folder}: wait for it, or name another --out")
        if not os.fstat(log.fileno()).st_nlink:  # it ended between opening and locking, without a line
            raise UserError(f"another process has just left {folder}: start again")
        try:
            yield
        finally:
            with suppress(OSError):  # the folder is in use, or gone
                if not path.stat().st_size:
                    path.unlink()
                    folder.rmdir()
