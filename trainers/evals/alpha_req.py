"""Alpha-ReQ: how fast the variances of features fall along their principal components (NeurIPS 2022, Agrawal et al.).

    log l_i = -alpha log i + b  over ranks i = begin + 1 .. end, each weighted by 1 / i;   l the shares of variance of X

Good representations of photographs have an alpha near 1: 0 means equal variances, a large one few components.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ...shards.errors import UserError
from .checks import require_finite

BEGIN, END = 10, 100  # positions of the fit, from 0, as in reptrix
TAIL, MOST, LONG = 10, 500, 512  # the goodness of a fit leaves out the last 10 components; looks at 500 of 512 or more
FEWEST = 3  # components of a line that is fitted


class PowerLaw(NamedTuple):
    """A line through the logarithms of a spectrum."""

    alpha: float
    predicted: Tensor  # [K] of the whole spectrum
    r2: float  # share of the variance of log l that it explains from position begin + 1 on, without the last 10


def spectrum(x: Tensor) -> Tensor:
    """Shares of variance of the principal components of features [N, D]: [min(N, D)] float64, descending. UserError for
    features that are not finite or all the same."""
    require_finite(x)
    x = x.double()
    variance = torch.linalg.svdvals(x - x.mean(dim=0)).square()
    if not variance.sum():
        raise UserError(f"the features of {len(x)} images are all the same: they have no spectrum, check the network")
    return variance / variance.sum()


def power_law(shares: Tensor, begin: int = BEGIN, end: int = END) -> PowerLaw:
    """The line through positions `begin` to `end` - 1 of shares of variance [K], as far as they are not rounding alone.

    UserError for fewer than 3 such positions."""
    found = int((shares.sqrt() > shares[0].sqrt() * len(shares) * torch.finfo(shares.dtype).eps).sum())
    if min(end, found) - begin < FEWEST:
        raise UserError(
            f"features vary in {found} directions: a line through their variances from the {begin + 1}. on needs "
            f"{begin + FEWEST}, measure more images"
        )
    part = slice(begin, min(end, found))
    rank = torch.arange(1, len(shares) + 1, dtype=shares.dtype, device=shares.device)
    x, y = -rank.log(), shares.log()
    weight = 1 / rank[part]
    weight /= weight.sum()
    mean_x, mean_y = (weight * x[part]).sum(), (weight * y[part]).sum()
    apart = x[part] - mean_x
    alpha = (weight * apart * (y[part] - mean_y)).sum() / (weight * apart.square()).sum()
    line = alpha * (x - mean_x) + mean_y
    return PowerLaw(float(alpha), line.exp(), _explained(y, line, begin + 1))


def _explained(y: Tensor, line: Tensor, begin: int) -> float:
    part = slice(begin, MOST if len(y) >= LONG else len(y) - TAIL)
    rest = y[part] - line[part]
    return float(1 - rest.square().sum() / (y[part] - y[part].mean()).square().sum())
