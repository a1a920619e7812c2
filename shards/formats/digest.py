"""The digest of a file that holds images: sha256 of the file with each image replaced by its own sha256.

As strong as a digest of all bytes, but made of the images' digests, which a build has already: no image is hashed
twice, and a file whose first bytes are written last is not read again.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import IO

PIECE = 1 << 20


class Digest:
    """Computes a file's digest while reading it in order."""

    def __init__(self, file: IO[bytes], see: Callable[[bytes], None] | None = None) -> None:
        self.file, self.total, self.see = file, hashlib.sha256(), see  # `see` gets the bytes of each image

    def images(self, spans: Iterable[tuple[int, int]]) -> Iterator[bytes]:
        """Yield the sha256 of each (start, length), in ascending order; of fewer bytes where the file ends early.
        ValueError for one that begins within the one before."""
        for start, length in spans:
            if (gap := start - self.file.tell()) < 0 < length:
                raise ValueError(f"a sample at byte {start} begins within the one before")
            while gap > 0 and (piece := self.file.read(min(PIECE, gap))):
                self.total.update(piece)
                gap -= len(piece)
            image = self.file.read(length)
            if self.see:
                self.see(image)
            sha256 = hashlib.sha256(image).digest()
            self.total.update(sha256)
            yield sha256

    def end(self) -> str:
        """Read to the end of the file; its digest, in hexadecimal."""
        while piece := self.file.read(PIECE):
            self.total.update(piece)
        return self.total.hexdigest()
