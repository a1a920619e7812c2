"""RankMe: the effective rank of features, a measure of collapse that needs no labels (arXiv:2210.02885).

    rankme(X) = exp(-sum p_k log p_k),   p_k = s_k / sum_j s_j + eps,   s the singular values of X

X is not centered. The rank lies between 1 and min(N, D), up to the surplus of eps: the p do not sum to one.
"""

import torch
from torch import Tensor

from ...shards.errors import UserError
from .checks import require_finite


def rankme(x: Tensor, eps: float = 1e-7) -> float:
    """The effective rank of features [N, D], in float64; `eps` of the paper. UserError for features that are not finite
    or all zero."""
    require_finite(x)
    singular = torch.linalg.svdvals(x.double())
    total = singular.sum()
    if not total:
        raise UserError(f"the features of {len(x)} images are all zero: they have no rank, check the network")
    p = singular / total + eps
    return float((-p * p.log()).sum().exp())
