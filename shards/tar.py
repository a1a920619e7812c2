"""WebDataset tars: for each sample the members `key.jpg`, `key.cls`, `key.json`. Same samples, same bytes, always."""

import hashlib
import json
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from .files import atomic
from .manifest import JSON

BLOCK = tarfile.BLOCKSIZE


class Tar:
    """An open tar; `add` returns where the JPEG's bytes begin."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self.file, self.name = file, name
        self.bytes = self.samples = 0
        self.digest = hashlib.sha256()

    def add(self, key: str, label: int, jpeg: bytes, height: int, width: int) -> int:
        page = json.dumps({"key": key, "label": label, "height": height, "width": width}, ensure_ascii=False)
        offset = self._member(f"{key}.jpg", jpeg)
        self._member(f"{key}.cls", str(label).encode())
        self._member(f"{key}.json", page.encode())
        self.samples += 1
        return offset

    def _member(self, name: str, data: bytes) -> int:
        info = tarfile.TarInfo(name)  # owner 0, time 0, mode 0644: nothing of the machine gets in
        info.size = len(data)
        self._write(info.tobuf(tarfile.USTAR_FORMAT))
        offset = self.bytes
        self._write(data)
        self._write(bytes(-len(data) % BLOCK))
        return offset

    def end(self) -> None:
        self._write(bytes(2 * BLOCK))
        self._write(bytes(-self.bytes % tarfile.RECORDSIZE))

    def _write(self, data: bytes) -> None:
        self.file.write(data)
        self.digest.update(data)
        self.bytes += len(data)


@contextmanager
def create(path: Path) -> Iterator[Tar]:
    """A tar that appears under its name when the block ends well."""
    with atomic(path) as file:
        tar = Tar(file, path.name)
        yield tar
        tar.end()


class Tars:
    """NAME-000000.tar, NAME-000001.tar, ...: `add` begins the next one whenever the planned shard changes. A shard
    of which every sample was skipped gets no tar and no number."""

    def __init__(self, out: Path, name: str, current: ExitStack) -> None:
        self.out, self.name, self.current = out, name, current
        self.made: list[Tar] = []
        self.planned = -1

    def add(self, planned: int, key: str, label: int, jpeg: bytes, height: int, width: int) -> tuple[int, int]:
        """The tar's number and where in it the JPEG begins."""
        if planned != self.planned:
            self.current.close()  # the last tar is whole
            path = self.out / f"{self.name}-{len(self.made):06d}.tar"
            self.made.append(self.current.enter_context(create(path)))
            self.planned = planned
        return len(self.made) - 1, self.made[-1].add(key, label, jpeg, height, width)

    def files(self) -> list[JSON]:
        """One line a tar for `dataset.json`."""
        return [
            {"file": t.name, "bytes": t.bytes, "samples": t.samples, "sha256": t.digest.hexdigest()} for t in self.made
        ]


@contextmanager
def numbered(out: Path, name: str) -> Iterator[Tars]:
    with ExitStack() as current:
        yield Tars(out, name, current)
