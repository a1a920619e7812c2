"""The webdataset door: JPEG members of local tars, by the offsets that the manifest keeps; exact global order."""

from ..shards.manifest import Manifest
from .files import Pieces


class Tars:
    """Tar members by offset."""

    def __init__(self, manifest: Manifest):
        manifest.require("webdataset")
        self.manifest, self.pieces = manifest, Pieces(manifest.tars())

    def read(self, row: int) -> bytes:
        m = self.manifest
        return self.pieces.read(int(m.shard[row]), int(m.offset[row]), int(m.bytes[row]))

    def close(self) -> None:
        self.pieces.close()


open_door = Tars
