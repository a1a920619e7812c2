"""The published draw, repeated number by number: LT0, 100kp and LT2-LT8 from ImageNet and its long-tailed list.

Images are integers whose order is that of their paths. What makes the result is the order of every population that
is sampled from, so none of these lists may become a set: long tail in its list's order, pool by path, LT0 by path (it
was read back from its sorted file), the smoothed sets as they were made. Checked against `subsets_synthetic.npz`.
"""

import random
from collections.abc import Sequence

import numpy as np

from ..errors import UserError
from .draws import flattened

SEED = 2020
CHAIN = {"lt8": 0.8, "lt6": 0.6, "lt4": 0.4, "lt2": 0.2}  # each made from the one before, the first from the long tail
NAMES = ("lt0", "100kp", *CHAIN)

Classes = list[list[int]]  # the images of each class


def release(name: str, pool: Classes, tail: Classes) -> Classes:
    """The set `name` from all training images but lt-val's (`pool`) and those of the long-tailed list (`tail`)."""
    even = [sorted(some) for some in _even(pool, tail)]
    if name == "lt0":
        return even
    if name == "100kp":
        return _one_more(pool, tail, even)
    sizes = np.array(list(map(len, tail)))
    made = tail
    for step, exponent in CHAIN.items():
        made = _smoothed(pool, made, even, flattened(sizes, exponent).tolist())
        if step == name:
            break
    return made


def _even(pool: Classes, tail: Classes) -> Classes:
    """LT0: as many of each class, of the long tail as far as it goes."""
    rng = random.Random(SEED)
    each = sum(map(len, tail)) // len(tail)
    return [
        rng.sample(some, each) if len(some) >= each else _filled(rng, some, whole, each)
        for some, whole in zip(tail, pool, strict=True)
    ]


def _one_more(pool: Classes, tail: Classes, even: Classes) -> Classes:
    """100kp: LT0 and one more of each class, of the long tail if it has one. A program of its own, so reseeded."""
    rng = random.Random(SEED)
    return [
        _filled(rng, have, some if set(some) - set(have) else whole, len(have) + 1)
        for have, some, whole in zip(even, tail, pool, strict=True)
    ]


def _smoothed(pool: Classes, base: Classes, even: Classes, counts: list[int]) -> Classes:
    """A part of the base or of LT0, whichever is large enough; else the larger of them, filled from the pool."""
    rng = random.Random(SEED)
    made = []
    for whole, first, second, count in zip(pool, base, even, counts, strict=True):
        enough = next((some for some in (first, second) if len(some) >= count), None)
        larger = first if len(first) > len(second) else second
        made.append(_filled(rng, larger, whole, count) if enough is None else rng.sample(enough, count))
    return made


def _filled(rng: random.Random, have: list[int], whole: list[int], count: int) -> list[int]:
    """`have`, and then as many others of `whole` as make `count`."""
    taken = set(have)
    rest = [one for one in whole if one not in taken]
    if len(rest) < count - len(have):
        raise UserError(
            f"the published draw takes {count} images of a class, one has {len(have) + len(rest)} beside lt-val's: "
            "complete the source, or draw by keys: --draw-subset"
        )
    return have + rng.sample(rest, count - len(have))


def by_class(rows: Sequence[int] | np.ndarray, label: np.ndarray, classes: int) -> Classes:
    """Split rows by their label, each class in the order given."""
    split: Classes = [[] for _ in range(classes)]
    for row, c in zip(rows, label, strict=True):
        split[int(c)].append(int(row))
    return split
