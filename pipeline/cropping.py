"""The crops of a batch, several images per call of machine code."""

from collections.abc import Iterator

import numpy as np

from ..shards.errors import UserError
from ..shards.manifest import Manifest
from .cut.planes import can_crop, crops_of_all_planes
from .cut.resize import resized_crops, resized_crops_of_all
from .decoding import decode_all
from .reading import Data
from .turbojpeg import PLANES, RGB, room

GROUP = 4 << 20  # bytes of images that are decoded before they are cropped: more would leave the cache of a core


def scratch_for(manifest: Manifest) -> int:
    """Bytes in which any group of images of a set is decoded."""
    return max(GROUP, 3 * manifest.largest + 3)  # planes of an image that is one pixel high take 3 bytes more


class Cropping:
    """Samples `rows` [N] by `boxes` [N, V, CROP_FIELDS], views of `sizes` [V] px, to `places` [N, V] of the flat
    `out`; with `planes` from the planes that JPEGs store, where those can be cropped."""

    def __init__(
        self,
        manifest: Manifest,
        rows: np.ndarray,
        boxes: np.ndarray,
        sizes: np.ndarray,
        places: np.ndarray,
        out: np.ndarray,
        planes: bool,
    ):
        self.height, self.width = manifest.height[rows].astype(np.int32), manifest.width[rows].astype(np.int32)
        self.boxes, self.sizes, self.places, self.out = boxes, sizes, places, out
        self._planar = can_crop(boxes) if planes else np.zeros(len(rows), bool)
        self._room = room(self.height.astype(np.int64), self.width.astype(np.int64))

    def groups(self, part: range) -> Iterator[range]:
        """Positions `part` in groups whose images fit into GROUP bytes together, or alone into more."""
        begin, used = part.start, 0
        for i, size in zip(part, self._room[part.start : part.stop].tolist(), strict=True):
            if used and used + size > GROUP:
                yield range(begin, i)
                begin, used = i, 0
            used += size
        yield range(begin, part.stop)

    def decode(self, group: range, samples: list[Data | UserError], scratch: np.ndarray) -> np.ndarray:
        """Decode the JPEGs of a group into `scratch`; the kinds of what is there, as of `decode_all`."""
        at = slice(group.start, group.stop)
        return decode_all(samples, self.height[at], self.width[at], self._planar[at], self._first(at), scratch)

    def crop(self, group: range, kinds: np.ndarray, scratch: np.ndarray) -> None:
        """Crop what `decode` left."""
        first = self._first(slice(group.start, group.stop))
        if len(found := np.flatnonzero(kinds == RGB)):
            at = found + group.start
            more = self.boxes[at], self.sizes, self.places[at], self.out
            resized_crops_of_all(scratch, first[found], self.width[at], *more)
        if len(found := np.flatnonzero(kinds == PLANES)):
            at = found + group.start
            more = self.boxes[at], self.sizes, self.places[at], self.out
            crops_of_all_planes(scratch, first[found], self.height[at], self.width[at], *more)

    def crop_one(self, i: int, image: np.ndarray) -> None:
        """Crop the image [H, W, 3] of position `i`."""
        resized_crops(image.reshape(-1), image.shape[1], self.boxes[i], self.sizes, self.places[i], self.out)

    def _first(self, at: slice) -> np.ndarray:
        return np.cumsum(self._room[at]) - self._room[at]
