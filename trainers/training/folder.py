"""The folder of a run: one trainer at a time, and one folder for all machines of a job."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from ...shards.errors import UserError
from ...shards.files import PAGE, make_folder, writing
from ...shards.locks import LOCK, alone
from ..beats import host_name
from ..ranks import of_all, rank, shared

LOG = logging.getLogger(__name__)


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
        _, without = _places(folder / LOCK)
        if without and not rank():
            remedy = "a restart needs its last.pt on every machine: name a shared folder with --out"
            LOG.info(f"note: {folder} is not the same on {host_name()} and {', '.join(without)}: {remedy}")
        yield


def on_all(file: Path) -> bool:
    """Whether a file of the run exists. UserError, on every rank, if some machines have it and others do not."""
    having, without = _places(file)
    if having and without:
        fact = f"{file} is on {', '.join(having)} and not on {', '.join(without)}"
        raise UserError(f"{fact}, so the ranks would part: name a shared folder with --out, or copy it to all of them")
    return bool(having)


def _places(file: Path) -> tuple[list[str], list[str]]:
    """The machines of the job that have a file, and those that have not."""
    found = of_all(f"{file.exists():d}{host_name()}")
    having, without = ([text[1:] for text in dict.fromkeys(found) if text[0] == sign] for sign in "10")
    return having, without


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: name a folder with --out")
    if (folder / PAGE).exists():
        raise UserError(f"{folder} holds a data set: name a folder for the run with --out")
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
