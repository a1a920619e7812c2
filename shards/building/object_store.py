"""A folder of an object store where a build by units puts its files, with the methods of a `Folder` (target.py).

A file is there whole or absent: it is one upload. What a store refuses is a UserError that names the place and what
helps.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import gettempdir, mkdtemp
from typing import Any, TypeVar

from ..errors import UserError, needs
from ..files import writing
from ..locks import LOCK, held
from ..names import safe
from ..redaction import redacted
from ..sources.faults import as_os_error
from ..sources.retry import retry
from ..sources.servers import file_system

R = TypeVar("R")
PART, TOGETHER, PARTS = 16 << 20, 4, 9000  # bytes of a part of a transfer, parts at once, parts of an object at most
SCRATCH, NEW = "viewstream-build-", "viewstream-new-"


@dataclass(frozen=True)
class Store:
    """A folder of an object store, through any file system that fsspec knows. Holds no connection."""

    url: str = field(repr=False)  # with its password; `show` hides it

    def show(self, name: str = "") -> str:
        return f"{redacted(self.url)}/{name}".rstrip("/")

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder in $TMPDIR. Folders that killed programs left there are deleted, which no lock holds any more."""
        for left in Path(gettempdir()).glob(f"{SCRATCH}*"):
            if left.is_symlink() or not os.access(left, os.W_OK):
                continue
            with suppress(UserError, OSError), held(left / LOCK, "in use"):
                shutil.rmtree(left)
        with held((new := Path(mkdtemp(prefix=NEW))) / LOCK):
            folder = new.rename(new.with_name(new.name.replace(NEW, SCRATCH)))  # only when it is locked
            try:
                with writing(folder, "let TMPDIR name a larger disk, then the same command continues"):
                    yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    workspace = scratch

    def put(self, path: Path, name: str, show: bool = False) -> None:
        """Upload a local file and delete it: one object, which is there when all of its parts are; `show` a bar."""
        size = path.stat().st_size

        def upload(fs: Any, at: str) -> None:
            callbacks = needs("fsspec.callbacks")
            bar = {"desc": name, "unit": "B", "unit_scale": True, "disable": None if show else True}
            with callbacks.TqdmCallback(bar) as callback:
                fs.put_file(str(path), at, callback=callback, **_bounds(fs, max(PART, -(-size // PARTS))))

        self._do(name, upload, writes=True)
        path.unlink()

    def fetch(self, name: str, folder: Path) -> Path:
        path = folder / name.rpartition("/")[2]
        try:
            self._do(name, lambda fs, at: fs.get_file(at, str(path), **_bounds(fs, PART)))
        except FileNotFoundError as error:
            raise UserError(f"{self.show(name)} is gone: the same command makes it again") from error
        return path

    def read(self, name: str) -> bytes:
        """The bytes of a small object; FileNotFoundError without it."""
        return self._do(name, lambda fs, at: fs.cat_file(at))

    def write(self, name: str, data: bytes) -> None:
        """Write a small object."""
        self._do(name, lambda fs, at: fs.pipe_file(at, data), writes=True)

    def create(self, name: str, data: bytes) -> bool:
        """Write a small object unless there is one, by a conditional put; whether it was written. NotImplementedError
        from a file system that knows no condition; a store that ignores it writes."""

        def put(fs: Any, at: str) -> bool | None:
            try:
                fs.pipe_file(at, data, mode="create")
            except FileExistsError:
                return fs.cat_file(at) == data  # ours, if the answer to an earlier try was lost
            except (NotImplementedError, TypeError):
                return None
            return True

        made = self._do(name, put, writes=True)
        if made is None:
            raise NotImplementedError("no conditional put")
        return made

    def rename(self, old: str, new: str) -> None:
        self._do(new, lambda fs, at: fs.copy(self._at(old)[1], at), writes=True)
        self.remove(old)

    def remove(self, name: str) -> None:
        def rm(fs: Any, at: str) -> None:
            with suppress(FileNotFoundError):
                fs.rm_file(at)

        self._do(name, rm, writes=True)

    def names(self, folder: str = "") -> dict[str, int]:
        def ls(fs: Any, at: str) -> dict[str, int]:
            try:
                found = fs.ls(at, detail=True)
            except FileNotFoundError:
                return {}
            at = at.strip("/")
            parts = [(e["name"].strip("/").removeprefix(at).strip("/"), e) for e in found]
            return {f"{n}/" if e["type"] == "directory" else n: int(e["size"] or 0) for n, e in parts if n}

        return self._do(folder, ls)

    def abort_uploads(self) -> None:
        """End the uploads that killed programs left: S3 keeps their parts, and charges for them, until then."""

        def abort(fs: Any, at: str) -> None:
            bucket, _, prefix = at.partition("/")
            for left in fs.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=f"{prefix}/").get("Uploads", ()):
                with suppress(FileNotFoundError):
                    fs.call_s3("abort_multipart_upload", Bucket=bucket, Key=left["Key"], UploadId=left["UploadId"])

        if _is_s3(self._at("")[0]):
            with suppress(UserError, FileNotFoundError):  # who may not list them leaves them to the rules of the bucket
                self._do("", abort)

    def _at(self, name: str) -> tuple[Any, str]:
        """The file system, which fsspec caches, and its name for a file."""
        fs, root = file_system(self.url)
        return fs, f"{root.rstrip('/')}/{safe(name, self.show(), 'set')}" if name else root.rstrip("/")

    def _do(self, name: str, work: Callable[[Any, str], R], writes: bool = False) -> R:
        """`work(file system, path)`, tried again when the network or the store fails."""

        def attempt() -> R:
            with as_os_error(self.show(name)):
                fs, at = self._at(name)
                fs.invalidate_cache(at)  # another program may have written there, or the answer to a write been lost
                return work(fs, at)

        try:
            return retry(attempt, server="/".join(self.show().split("/")[:3]))
        except FileNotFoundError as error:
            if not writes:
                raise
            raise UserError(f"{self.show()} cannot be written: there is no such bucket, make it first") from error
        except PermissionError as error:
            raise UserError(
                f"{self.show(name)} is refused ({error}): see that your credentials may list, read, write and delete "
                "there"
            ) from error
        except OSError as error:
            reason = f"{self.show(name)}: the store or the network fails ({error})"
            raise UserError(f"{reason}: when it answers, the same command continues") from error


def _bounds(fs: Any, part: int) -> dict[str, int]:
    """What bounds the memory of a transfer: s3fs holds ten parts of 50 MB otherwise."""
    return {"chunksize": part, "max_concurrency": TOGETHER} if _is_s3(fs) else {}


def _is_s3(fs: Any) -> bool:
    return "s3" in (fs.protocol if isinstance(fs.protocol, tuple) else (fs.protocol,))
