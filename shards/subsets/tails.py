"""The long tails of CIFAR and ImageNet-100 that the field measures on, and sets that are long-tailed as they are.

CIFAR's tails fall exponentially: class i of C has floor(n rho^(-i / (C - 1))) images, rho the imbalance (Cui et al.,
arXiv:1901.05555). Their head is the first class, as in the programs of the field; SDCLR (arXiv:2106.06042) keeps a
tenth of each class for validation, so n is 4,500 and 450, and orders the classes in another way for each split,
here by the seed. ImageNet-100-LT has SDCLR's counts. Which images are taken is drawn by key.
"""

from typing import NamedTuple

import numpy as np

IMBALANCE = 100.0  # of CIFAR's tails, unless --imbalance names another


class Tail(NamedTuple):
    """Classes, images of the largest one, and whether the seed orders them."""

    classes: int
    largest: int
    ordered_by_seed: bool = False


TAILS = {
    "cifar10-lt": Tail(10, 5000),
    "cifar10-lt-sdclr": Tail(10, 4500, ordered_by_seed=True),
    "cifar100-lt": Tail(100, 500),
    "cifar100-lt-sdclr": Tail(100, 450, ordered_by_seed=True),
    "imagenet100-lt": Tail(100, 1280),
}
IMAGENET100 = (  # images of each class of ImageNet-100-LT, the classes sorted by name
    *(30, 75, 100, 61, 23, 126, 511, 120, 354, 39, 229, 268, 143, 34, 55, 14, 130, 108, 20, 69, 12, 85, 54, 32, 9),
    *(124, 137, 18, 26, 89, 63, 172, 152, 110, 184, 392, 215, 80, 330, 21, 16, 43, 78, 456, 201, 236, 113, 36, 37, 282),
    *(59, 248, 305, 73, 32, 45, 27, 19, 15, 22, 6, 50, 8, 149, 86, 41, 133, 165, 178, 52, 31, 93, 44, 48, 169),
    *(71, 65, 157, 25, 82, 11, 66, 42, 15, 57, 290, 116, 679, 28, 189, 47, 104, 96, 35, 7, 1280, 102, 83, 10, 138),
)
WHOLE = {"places-lt": (62_500, 365), "inat18": None}  # images and classes of their lists; None: what the list has


def tail_counts(name: str, imbalance: float = 0.0) -> np.ndarray:
    """[C] int64 images of each class of the tail `name`, its head first; `imbalance`, 0 for 100, of CIFAR's alone."""
    if name == "imagenet100-lt":
        return np.array(IMAGENET100)
    tail = TAILS[name]
    place = np.arange(tail.classes) / (tail.classes - 1)
    return np.floor(tail.largest * (1 / (imbalance or IMBALANCE)) ** place).astype(np.int64)
