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

    def __init__(self, file: IO[bytes], see: Callable[[bytes, bytes], object] | None = None) -> None:
        """`see` gets each image and its sha256, and returns True for one that counts as no image."""
        self.file, self.total, self.see = file, hashlib.sha256(), see

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
            sha256 = hashlib.sha256(image).digest()
            other = self.see is not None and self.see(image, sha256) is True
            self.total.update(image if other else sha256)
            yield sha256

    def end(self) -> str:
        """Read to the end of the file; its digest, in hexadecimal."""
        while piece := self.file.read(PIECE):
            self.total.update(piece)
        return self.total.hexdigest()
