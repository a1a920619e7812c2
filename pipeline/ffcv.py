"""The ffcv door: a `.beton` through ffcv's own reader (header, metadata, pages), each sample decoded once.

Stock ffcv decodes a sample again for every view and resizes with OpenCV's INTER_AREA; this door hands the bytes to the
executor that all doors share, so its pixels are the other doors' pixels. Raw samples are handed over as they are.
"""

import numpy as np

from ..shards.errors import UserError, needs
from ..shards.manifest import Manifest
from ..shards.read import Pieces

JPEG = 0  # ffcv's image modes; 1 is raw


class Beton:
    """Samples of a .beton by the number that the manifest keeps for each row."""

    def __init__(self, manifest: Manifest):
        manifest.require("ffcv")
        path = manifest.beton_path()
        reader_type = needs("ffcv.reader").Reader
        self.pieces = Pieces([path])  # before the reader, whose own errors do not say what to do
        try:
            reader = reader_type(str(path))
        except (ValueError, IndexError, AssertionError) as error:  # what its parsing of a short or foreign file ends in
            raise UserError(f"{path} is truncated or no .beton ({error}): build the set again") from None
        if reader.num_samples < len(manifest):
            raise UserError(f"{path} holds {reader.num_samples} samples, the manifest {len(manifest)}: build it again")
        self.rows = manifest.beton
        image = reader.metadata[f"f{reader.field_names.index('image')}"]
        self.mode, self.pointer = image["mode"], image["data_ptr"]
        self.shape = np.stack([image["height"], image["width"]], axis=1)
        table = np.sort(reader.alloc_table, order="ptr")
        self.size = table["size"][np.searchsorted(table["ptr"], self.pointer)]

    def read(self, row: int) -> bytes | np.ndarray:
        at = self.rows[row]
        data = self.pieces.read(0, int(self.pointer[at]), int(self.size[at]))
        if self.mode[at] == JPEG:
            return data
        return np.frombuffer(data, np.uint8).reshape(*self.shape[at], 3)

    def place(self, row: int) -> str:
        return f"{self.pieces.paths[0]}, its sample {self.rows[row]}"

    def expect(self, rows: np.ndarray) -> None:
        """The page cache does well alone."""

    def close(self) -> None:
        self.pieces.close()


open_door = Beton
