"""The folder of a run: one trainer at a time."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from ...shards.errors import UserError
from ...shards.files import make_folder, writing
from ...shards.locks import LOCK, alone
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
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: name a folder with --out")
    with ExitStack() as stack:
        with writing(folder):
            make_folder(folder)
            refusal = f"another process trains in {folder}: wait for it, or name another --out"
            stack.callback(_leave, folder)
            stack.enter_context(alone(folder / LOCK, refusal))
        yield


def _leave(folder: Path) -> None:
    """Remove a folder that is empty."""
    with suppress(OSError):  # it is in use, or gone
        folder.rmdir()
