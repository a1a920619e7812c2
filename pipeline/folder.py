"""The folder door: a JPEG file a sample, of a set built with `--format folder`. The plain reference."""

from pathlib import Path

from ..shards.errors import UserError
from ..shards.manifest import Manifest


class Folder:
    """Files by key."""

    def __init__(self, manifest: Manifest):
        manifest.require("folder")
        self.manifest = manifest
        _ = manifest.keys  # read once, before threads ask for paths

    def read(self, row: int) -> bytes:
        path: Path = self.manifest.path(row)
        try:
            return path.read_bytes()
        except OSError as error:
            raise UserError(f"cannot read {path} ({error.strerror}): the set is incomplete, build it again") from None

    def close(self) -> None:
        """Every file was closed as it was read."""


open_door = Folder
