"""LiDAR: the effective rank of what tells images apart, with their views as the noise (arXiv:2312.04000).

S_b  covariance of the images' means, over n - 1      S_w  covariance within images, over n (q - 1), + delta I
lidar = exp(-sum p_i log p_i),   p_i = (l_i + eps) / sum_j (l_j + eps),   l the eigenvalues of S_w^-1/2 S_b S_w^-1/2
"""

import torch
from torch import Tensor

from ...shards.errors import UserError
from .checks import require_finite


def lidar(x: Tensor, delta: float = 1e-4, eps: float = 1e-8) -> float:
    """LiDAR of features [n, q, D] of q views of each of n images, in float64; 1 to D. `delta`, `eps` of the paper.

    UserError for features that are not finite, fewer than two images or views."""
    n, q, width = x.shape
    if n < 2 or q < 2:
        raise UserError(f"LiDAR compares two images and two views of each or more: there are {n} images, {q} views")
    require_finite(x.flatten(1))
    x = x.double()
    means = x.mean(dim=1)  # [n, D]
    apart, within = means - means.mean(dim=0), (x - means[:, None]).flatten(0, 1)
    noise = within.T @ within / (n * (q - 1)) + delta * torch.eye(width, dtype=x.dtype, device=x.device)
    values, vectors = torch.linalg.eigh(noise)
    whitened = apart @ (vectors * values.rsqrt())  # [n, D]; a rotation of S_w^-1/2 has the same eigenvalues
    found = torch.linalg.svdvals(whitened).square() / (n - 1)
    found = torch.cat([found, found.new_zeros(width - len(found))]) + eps
    p = found / found.sum()
    return float((-p * p.log()).sum().exp())
