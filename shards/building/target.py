"""Where a build by units puts its files: a folder, local or on NFS, or an object store, with the same methods.

A file is there whole or absent: a folder gets it by a rename, a store by one upload. Both can be pickled.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ..errors import UserError
from ..files import place
from ..names import within
from ..sources.web import is_web
from .folder import BUILDING
from .object_store import Store


@dataclass(frozen=True)
class Folder:
    """A folder that every worker sees under the same path."""

    root: Path

    def show(self, name: str = "") -> str:
        """The name of a file in messages."""
        return str(self.root / name)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder of the driver for what is on its way."""
        yield self.root / BUILDING

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """A folder of one worker, on the same disk, so that `put` renames."""
        if not (self.root / BUILDING).is_dir():
            raise UserError(
                f"{self.root} is not there on {os.uname().nodename}: name a folder that all machines see, or a URL"
            )
        with TemporaryDirectory(dir=self.root / BUILDING, prefix="unit-") as folder:
            yield Path(folder)

    def put(self, path: Path, name: str) -> None:
        """Move a local file to its place."""
        place(path, within(self.root, name))

    def fetch(self, name: str, folder: Path) -> Path:
        """A local file with the bytes of `name`: in `folder`, or where it lies."""
        return within(self.root, name)

    def rename(self, old: str, new: str) -> None:
        place(within(self.root, old), within(self.root, new))

    def remove(self, name: str) -> None:
        within(self.root, name).unlink(missing_ok=True)

    def names(self, folder: str = "") -> dict[str, int]:
        """What is in the set's folder, or in one in it: names and bytes; those of folders end with a slash."""
        with os.scandir(self.root / folder) as found:
            return {f"{e.name}/" if e.is_dir() else e.name: e.stat().st_size for e in found}


Target = Folder | Store


def target(where: str | Path) -> Target:
    """The place that --out names: a folder, also as file://, or a URL."""
    text = str(where)
    if is_web(text):
        raise UserError(f"{text} is on a web server, which takes no files: name a folder or an object store with --out")
    if "://" in text and not text.startswith("file://"):
        return Store(text.rstrip("/"))
    return Folder(Path(text.removeprefix("file://")).absolute())  # workers may run elsewhere
