"""The digest of a file that holds images: sha256 of the file with each image replaced by its own sha256.

As strong as one of the whole, but made of the images' digests, which a build has at hand: no image is hashed twice,
and a file whose first bytes are written last need not be read again.
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import IO

PIECE = 1 << 20


class Digest:
    """Fed in the order of the file."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.total = file, hashlib.sha256()

    def pictures(self, spans: Iterable[tuple[int, int]]) -> Iterator[bytes]:
        """The sha256 of each (start, length), ascending; a shorter one where the file ends early."""
        for start, length in spans:
            self.total.update(self.file.read(start - self.file.tell()))
            one = hashlib.sha256(self.file.read(length)).digest()
            self.total.update(one)
            yield one

    def end(self) -> str:
        """The digest, in hexadecimal, after the rest of the file."""
        while rest := self.file.read(PIECE):
            self.total.update(rest)
        return self.total.hexdigest()
