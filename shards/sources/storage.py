"""Storages: a local folder or a remote one, with the same methods. Both can be pickled."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import UserError
from .local import Local
from .remote import Remote
from .web import is_web

Storage = Local | Remote


def storage(where: str) -> Storage:
    """The folder `where`: a URL or a local path."""
    return Remote(where.rstrip("/")) if "://" in where else Local(Path(where).expanduser())


def beside(where: str) -> tuple[Storage, str]:
    """The folder of the file `where`, and its name there."""
    if "://" not in where:
        path = Path(where).expanduser()
        return Local(path.parent), path.name
    scheme, _, path = where.partition("://")
    path, mark, query = path.partition("?") if is_web(where) else (path, "", "")
    folder, _, name = path.rpartition("/")
    return Remote(f"{scheme}://{folder}{mark}{query}"), name


@contextmanager
def opening(name: str) -> Iterator[None]:
    """Turn an OSError inside the block into a UserError about the source `name`."""
    try:
        yield
    except OSError as error:
        cause = error.strerror or str(error) or type(error).__name__
        raise UserError(
            f"{error.filename or name} cannot be read ({cause}): is it there, and may you read it?"
        ) from error
