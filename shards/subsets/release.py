"""The published draw, repeated number by number: LT0, 100kp and LT2-LT8 from ImageNet and its long-tailed list.

Images are integers in the order of their paths. The result depends on the order of every population that is sampled
from, so no list here may become a set. The orders: the long tail as in its list, the pool by path, LT0 by path (it was
read back from its sorted file), the smoothed sets as sampled. Checked against `subsets_synthetic.npz`.
"""

import random
from collections.abc import Sequence

import numpy as np

from ..errors import UserError
from .draws import flattened

SEED = 2020
CHAIN = {"lt8": 0.8, "lt6": 0.6, "lt4": 0.4, "lt2": 0.2}  # each from the one before, the first from the long tail
NAMES = ("lt0", "100kp", *CHAIN)

Classes = list[list[int]]  # the images of each class


def release(name: str, pool: Classes, tail: Classes) -> Classes:
    """The set `name`. pool: all training images except those of lt-val; tail: those of the long-tailed list."""
    even = [sorted(images) for images in _even(pool, tail)]
    if name == "lt0":
        return even
    if name == "100kp":
        return _one_more(pool, tail, even)
    sizes = np.array(list(map(len, tail)))
    smoothed = tail
    for step, exponent in CHAIN.items():
        smoothed = _smoothed(pool, smoothed, even, flattened(sizes, exponent).tolist())
        if step == name:
            break
    return smoothed


def _even(pool: Classes, tail: Classes) -> Classes:
    """LT0: the same number of each class, from the long tail, filled from the pool where the tail is too small."""
    rng = random.Random(SEED)
    each = sum(map(len, tail)) // len(tail)
    return [
        rng.sample(have, each) if len(have) >= each else _filled(rng, have, whole, each)
        for have, whole in zip(tail, pool, strict=True)
    ]


def _one_more(pool: Classes, tail: Classes, even: Classes) -> Classes:
    """100kp: LT0 and one more image of each class, from the long tail if it has one, else from the pool.

    The release has a program of its own for it, so the seed starts again."""
    rng = random.Random(SEED)
    return [
        _filled(rng, have, listed if set(listed) - set(have) else whole, len(have) + 1)
        for have, listed, whole in zip(even, tail, pool, strict=True)
    ]


def _smoothed(pool: Classes, base: Classes, even: Classes, counts: list[int]) -> Classes:
    """Samples of each class from the base, or else LT0, if it is large enough; else the larger one, filled up."""
    rng = random.Random(SEED)
    smoothed = []
    for whole, first, second, count in zip(pool, base, even, counts, strict=True):
        enough = next((images for images in (first, second) if len(images) >= count), None)
        larger = first if len(first) > len(second) else second
        smoothed.append(_filled(rng, larger, whole, count) if enough is None else rng.sample(enough, count))
    return smoothed


def _filled(rng: random.Random, have: list[int], whole: list[int], count: int) -> list[int]:
    """`have` and samples of the other images in `whole`, `count` in total."""
    taken = set(have)
    others = [image for image in whole if image not in taken]
    if len(others) < count - len(have):
        raise UserError(
            f"the published draw takes {count} images of a class that has {len(have) + len(others)} outside lt-val: "
            "complete the source, or draw by keys: --draw-subset"
        )
    return have + rng.sample(others, count - len(have))


def by_class(rows: Sequence[int] | np.ndarray, label: np.ndarray, classes: int) -> Classes:
    """The rows of each class, in the order given."""
    split: Classes = [[] for _ in range(classes)]
    for row, c in zip(rows, label, strict=True):
        split[int(c)].append(int(row))
    return split
