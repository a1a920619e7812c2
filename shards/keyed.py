"""Keyed hashes: the storage order, which does not depend on the file system, and the purposes of all hashes."""

from enum import IntEnum, unique

import numpy as np

from .manifest import uid_of

STEP = np.uint64(0x9E3779B97F4A7C15)  # the increment of splitmix64


@unique
class Purpose(IntEnum):
    """The word of a hash that names its use, so that no two uses share numbers. Frozen: old runs stay reproducible."""

    RESEED = 0  # (seed, step, purpose): torch's own generator
    SHUFFLE_BN = 1  # (seed, step, purpose, position)
    POSITIVES = 2  # (seed, step, purpose, anchor): which queued positives KCL takes
    MASKS = 3  # (seed, step, purpose, name, index): which parts of the teacher move
    DROPOUT = 4  # (seed, step, purpose, place), then the pass, row and element: what a network drops
    SHARD_ORDER = 101  # (seed, epoch, purpose, shard)
    CLASS_ORDER = 102  # (seed, purpose, cycle, class), in orders of version 1
    IMAGE_ORDER = 103  # (seed, purpose, class, pass, id), in orders of version 1
    REPLACEMENT = 104  # (seed, epoch, purpose, tries, uid): which sample replaces a damaged one
    CORNERS = 108  # (seed, epoch, purpose, uid): the quarters of two crops that do not overlap
    PATCH = 109  # (seed, epoch, purpose, uid, view): where a patch of noise goes
    UNIFORMITY = 110  # (seed, purpose, row): the subsets that uniformity is measured on
    OCCURRENCE = 111  # (..., purpose, occurrence): what is drawn for a sample that an epoch shows again
    MINI_BATCHES = 112  # (seed, purpose, uid): the mini-batches whose mean shift-norm subtracts
    EPOCH_KEY = 113  # (seed, epoch, purpose, block): the key that places the samples of a block of an epoch, or of all
    CYCLE_KEY = 114  # (seed, purpose, cycle): the key that places the classes
    PASS_KEY = 115  # (seed, purpose, class, pass): the key that places the images of the class


def mix(x: np.ndarray) -> np.ndarray:
    """The finalizer of splitmix64: uint64 -> uint64; every output bit depends on every input bit."""
    x = x ^ (x >> np.uint64(30))  # a new array: the next steps write in place
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x


def keys(uid: np.ndarray, seed: int, purpose: str) -> np.ndarray:
    """[N] uint64 -> [N] uint64, distinct for distinct uids: splitmix64 of (uid + a word for this seed and purpose)."""
    with np.errstate(over="ignore"):
        return mix(uid + STEP + np.uint64(uid_of(f"{purpose} {seed}")))


def shuffled(uid: np.ndarray, seed: int, purpose: str) -> np.ndarray:
    """[N] uint64 -> [N] int64: the positions in keyed order."""
    return np.argsort(keys(uid, seed, purpose), kind="stable")
