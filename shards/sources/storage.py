"""Where bytes lie: a local folder or a remote one. Both look the same to the kinds of sources, and pickle."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import UserError
from .local import Local
from .remote import Remote

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
    folder, _, name = path.rpartition("/")
    return Remote(f"{scheme}://{folder}"), name


@contextmanager
def opening(what: str) -> Iterator[None]:
    """A file system's refusals, said to the person who named the source."""
    try:
        yield
    except OSError as error:
        cause = error.strerror or str(error) or type(error).__name__
        name = error.filename or what
        raise UserError(f"{name} cannot be read ({cause}): is it there, and may you read it?") from error
