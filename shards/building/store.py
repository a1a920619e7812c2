"""The place of a build in progress on an object store: of one process at a time, with the options of its build."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

from ..errors import UserError
from ..files import PAGE
from ..unpack import parsed_json
from .claim import CLAIM, claimed
from .folder import BUILDING, OPTIONS, as_stored, complete, continues, foreign, refuse_other
from .object_store import Store


@contextmanager
def build_store(store: Store, options: dict[str, Any], no_lock: bool) -> Iterator[Callable[[bool], None]]:
    """What `build_folder` does, for an object store; gives `Claim.check`, which is a UserError once the lock is lost.

    UserError as of `build_folder`, and from a store that cannot lock, unless `no_lock`."""
    _require_free(store)
    with nullcontext() if no_lock else claimed(store) as claim:
        _require_free(store)  # another build may have ended between the two lines before
        _same_options(store, options)
        store.abort_uploads()
        try:
            yield claim.check if claim else lambda sure: None
        except BaseException as error:
            finished = 0
            with suppress(UserError):  # the store may be out of reach
                finished = sum(name.endswith(".parquet") for name in store.names(BUILDING))
                if not finished and PAGE not in store.names():
                    clear(store)
            if isinstance(error, UserError) and finished:
                raise UserError(f"{error}{continues(finished)}") from error
            raise
        store.abort_uploads()
        clear(store, BUILDING)


def clear(store: Store, folder: str = "", keep: frozenset[str] = frozenset()) -> None:
    """Delete the objects at the place of a build, or those in its folder for the build, except `keep` and the lock."""
    for name in sorted(store.names(folder), key=lambda name: name == OPTIONS):  # the options last: they say whose it is
        path = f"{folder}/{name}".lstrip("/")
        if name == f"{BUILDING}/":
            if name not in keep:
                clear(store, BUILDING)
        elif path != CLAIM and name not in keep and not name.endswith("/"):
            store.remove(path)


def _require_free(store: Store) -> None:
    """Refuse a place that holds anything but an unfinished build."""
    names = store.names()
    if {*store.names(BUILDING)} - {CLAIM.rpartition("/")[2]}:
        return
    if PAGE in names:
        raise complete(store.show())
    if names.keys() - {f"{BUILDING}/"}:
        raise foreign(store.show())


def _same_options(store: Store, options: dict[str, Any]) -> None:
    """Refuse a build with other options than those of the build that is there; without any there, write these."""
    text, now = as_stored(options)
    try:
        before = parsed_json(store.read(f"{BUILDING}/{OPTIONS}"))
    except FileNotFoundError:
        store.write(f"{BUILDING}/{OPTIONS}", text.encode())
    else:
        refuse_other(store.show(), before, now)
