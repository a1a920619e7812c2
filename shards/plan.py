"""Which sample lies where, and how the work is cut: known before the first picture is read."""

import re
from typing import NamedTuple

import numpy as np

from .encode import Encoding
from .errors import UserError
from .keyed import shuffled
from .source import Source
from .subsets import Subset

BLOCK_SAMPLES, BLOCK_BYTES = 64, 16_000_000
BYTES_A_PIXEL = 0.25  # of max_side squared: a photograph of 4:3 at quality 90
TAR_BYTES_A_SAMPLE = 3 * 512 + 3 * 512  # headers, and the rest of last blocks


class Sample(NamedTuple):
    """A planned row: its path in the source, its label, its planned tar."""

    path: str
    label: int
    shard: int


def bytes_of(text: str) -> int:
    """`256MB` -> 256_000_000; KB, MB and GB are powers of ten."""
    match = re.fullmatch(r"(\d+)\s*([KMG]?)B?", text.strip(), re.IGNORECASE)
    if not match or not int(match[1]):
        raise UserError(f"--shard-size {text!r} is not a size: write it like 256MB")
    return int(match[1]) * {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}[match[2].upper()]


def plan(
    source: Source, part: Subset, encoding: Encoding, shard_bytes: int, seed: int
) -> tuple[list[Sample], list[list[str]]]:
    """Samples in storage order, and the blocks of paths to encode. A function of the source's sizes and the options
    alone, never of encoded sizes: so any block can be made without the others."""
    order = part.chosen[shuffled(source.uids(part.chosen), seed, "storage")]
    paths = [source.paths[i] for i in order]
    sizes = np.array([source.reader.size(path) for path in paths], np.int64)
    guess = sizes if encoding.keep else np.minimum(sizes, int(BYTES_A_PIXEL * encoding.max_side**2))
    ends = np.cumsum(guess + TAR_BYTES_A_SAMPLE)
    shards = ((ends - guess - TAR_BYTES_A_SAMPLE) // shard_bytes).tolist()
    samples = [Sample(*row) for row in zip(paths, source.label[order].tolist(), shards, strict=True)]
    return samples, _blocks(paths, sizes.tolist())


def _blocks(paths: list[str], sizes: list[int]) -> list[list[str]]:
    blocks: list[list[str]] = []
    room = 0
    for path, size in zip(paths, sizes, strict=True):
        if not blocks or size > room or len(blocks[-1]) == BLOCK_SAMPLES:
            blocks.append([])
            room = BLOCK_BYTES
        blocks[-1].append(path)
        room -= size
    return blocks
