"""Orders that are hashes of names: the same for the same pictures, whatever order a file system lists them in."""

import numpy as np

from .manifest import uid_of

STEP = np.uint64(0x9E3779B97F4A7C15)  # splitmix64's


def mix(x: np.ndarray) -> np.ndarray:
    """splitmix64's finaliser: uint64 in, uint64 out, every input bit in every output bit."""
    x = x ^ (x >> np.uint64(30))  # a new array, which the next steps may write to
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
    """[N] int64 positions in keyed order."""
    return np.argsort(keys(uid, seed, purpose), kind="stable")
