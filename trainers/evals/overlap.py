"""Test images that are in the bank as well: what is measured on them is memory."""

import hashlib
import logging
from contextlib import closing

import numpy as np

from ...pipeline.choose import open_reader
from ...shards.engine import threaded
from ...shards.manifest import Manifest
from ...shards.plain import Plain
from ..ranks import rank

LOG = logging.getLogger(__name__)


def overlap(bank: Manifest, test: Manifest) -> int | None:
    """Number of test images whose stored JPEG is that of an image of the bank, byte for byte; None if it cannot be
    known, because the images of a set come from a reader of your own.

    Built sets hold the digests of their images. Of a folder of images, those are read that the other set has one of the
    same size of. An image that the two sets encode in different ways is not found.
    """
    if not all(isinstance(data, Plain) or data.info.kind != "plain" for data in (bank, test)):
        return None
    sizes, others = _sizes(bank), _sizes(test)
    known = set(_digests(bank, np.isin(sizes, others)))
    return sum(digest in known for digest in _digests(test, np.isin(others, sizes)))


def warned(bank: Manifest, test: Manifest) -> int | None:
    """The `overlap`, and on rank 0 a line about it unless it is 0; other ranks do not look."""
    if rank():
        return None
    found = overlap(bank, test)
    if found is None:
        LOG.warning("note: test images are not compared with the bank, they come from a reader of your own")
    elif found:
        LOG.warning(
            f"warning: {found} of {len(test)} test images are in the bank ({bank.root}): the accuracy on them says "
            f"nothing about new images"
        )
    return found


def _sizes(data: Manifest) -> np.ndarray:
    """One number for the bytes, height and width of each image, [N] int64."""
    return (data.bytes << 32) ^ (data.height.astype(np.int64) << 16) ^ data.width


def _digests(data: Manifest, chosen: np.ndarray) -> list[bytes]:
    """sha256 of the images `chosen` [N] bool."""
    rows = np.flatnonzero(chosen)
    if not isinstance(data, Plain):
        return data.take(rows, data.label[rows], data.info.classes).strings("sha256")
    with closing(open_reader("folder", data)) as reader:
        return list(threaded(lambda row: hashlib.sha256(bytes(reader.read(row))).digest(), rows.tolist()))
