"""Geometry of a representation: alignment, alignment within classes, uniformity (spec small_sts A.8).

    align(a, b)  mean |a_i - b_i|^2        intra_c  mean over pairs of class c of |x_i - x_j|^2
    uniform(x)   log mean over pairs of exp(-2 |x_i - x_j|^2), averaged over three disjoint subsets of 128 rows

Alignment and uniformity: arXiv:2005.10242. In the column names D is the original, SD a view. The release needs 1000
classes and draws the subsets without a seed; here the labels give the classes, and a keyed hash the subsets.
"""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...augment.draw import hashed
from ...shards.errors import UserError
from ...shards.keyed import Purpose
from .checks import require_finite

SUBSETS, SUBSET = 3, 128
COLUMNS = ("D-SD align", "SD-SD align", "D cls-align", "SD cls-align", "D uniform", "SD uniform")


def stats(
    views: tuple[Tensor, ...], labels: Tensor, *, permutation: Tensor | None = None, seed: int = 0
) -> Iterator[tuple[str, float]]:
    """Yield the six numbers of COLUMNS from raw features of the original and two views, each [N, D], and labels [N].

    The subsets are the first 384 rows of `permutation`, or keyed by `seed`. UserError for features that are not
    finite."""
    if len(views) < 3:
        raise UserError(f"the geometry compares two views, the set has {len(views) - 1}: make it with --views 2")
    for view in views[:3]:
        require_finite(view)
    d, one, two = (F.normalize(x.float(), dim=1) for x in views[:3])
    rows = subsets(len(d), seed) if permutation is None else permutation
    rows = rows.flatten()[: SUBSETS * SUBSET].to(d.device).reshape(SUBSETS, -1)
    values = (
        *(alignment(d, one), alignment(one, two)),
        *(intra_class(x, labels).mean() for x in (d, one)),
        *(torch.stack([uniformity(x[subset].double()) for subset in rows]).mean() for x in (d, one)),
    )
    yield from ((f"stats/{name}", float(value)) for name, value in zip(COLUMNS, values, strict=True))


def alignment(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared distance between unit rows a and b, [N, D] each: a scalar, float64."""
    return 2 - 2 * torch.linalg.vecdot(a, b).double().mean()


def intra_class(x: Tensor, labels: Tensor) -> Tensor:
    """Mean squared distance over the pairs of each class, [classes] float64; x [N, D], labels [N].

    The sum over pairs is n sum |x|^2 - |sum x|^2, so one pass over x is enough; float64 withstands the cancellation.
    UserError for unlabeled images, or a class of one image."""
    classes, at, count = labels.unique(return_inverse=True, return_counts=True)
    if not len(labels) or int(classes.min()) < 0:
        raise UserError("some images are unlabeled: alignment within classes needs labels, name a labeled set")
    if int(count.min()) < 2:
        raise UserError(
            f"class {int(classes[count.argmin()])} has one image, which has no pair: take 2 or more per class"
        )
    x = x.double()
    total = x.new_zeros(len(classes), x.shape[1]).index_add_(0, at, x)  # [C, D]
    squares = x.new_zeros(len(classes)).index_add_(0, at, x.square().sum(dim=1))
    return (count * squares - total.square().sum(dim=1)) * 2 / (count * (count - 1))


def uniformity(x: Tensor, t: float = 2.0) -> Tensor:
    """Log of the mean Gaussian potential over pairs of rows x [n, D]: a scalar."""
    return torch.pdist(x).square().mul(-t).exp().mean().log()


def subsets(samples: int, seed: int) -> Tensor:
    """Row numbers of the three subsets, [3, 128], keyed by `seed`."""
    if samples < SUBSETS * SUBSET:
        raise UserError(
            f"uniformity takes {SUBSETS} subsets of {SUBSET} images, there are {samples}: "
            f"evaluate {SUBSETS * SUBSET} or more"
        )
    keys = hashed(seed, Purpose.UNIFORMITY, np.arange(samples, dtype=np.uint64))
    return torch.from_numpy(keys.argsort(kind="stable")[: SUBSETS * SUBSET]).view(SUBSETS, SUBSET)


def printed(values: dict[str, float]) -> str:
    """The two lines that ssl-small prints."""
    numbers = [f"{values[f'stats/{name}']:.4f}" for name in COLUMNS]
    return "\n".join("".join(word.ljust(15) for word in line) for line in (COLUMNS, numbers)).rstrip()
