"""Features of a whole data set: a network applied to a loader, each image exactly once over all ranks."""

import torch
from torch import Tensor, nn

from ...pipeline.batch import Loader
from ..precision import without_tf32
from ..ranks import gather, gather_ragged
from .checks import require_finite


def features(net: nn.Module, loader: Loader, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Features [N, D] float32 and targets [N] of a data set, in manifest order, the same on every rank.

    `dtype`: of the network's products; float32 without TF32. UserError for features that are not finite.
    """
    (x,), y = view_features(net, loader, 1, dtype)
    return x, y


@torch.no_grad()
@without_tf32()
def view_features(
    net: nn.Module, loader: Loader, views: int, dtype: torch.dtype = torch.float32
) -> tuple[tuple[Tensor, ...], Tensor]:
    """As `features`, for the first `views` views of each image: [N, D] for each view, and targets [N]."""
    net.eval()
    device = next(net.parameters()).device
    cast = torch.autocast(device.type, dtype, enabled=dtype != torch.float32)
    rows, targets, index = [], [], []
    width = 0
    for batch in loader.epoch(0):
        if len(batch.index):  # a rank's share of the last batch may be empty
            with cast:
                outputs = [net(view) for view in batch.views[:views]]
            rows.append(torch.stack([x.float() for x in outputs], dim=1))  # [n, views, D]
            width = rows[-1].shape[2]
        targets.append(batch.target.to(device))
        index.append(batch.index.to(device))
    width = int(gather(torch.tensor([width], device=device)).max())
    gathered = gather_ragged(torch.cat([*rows, torch.zeros(0, views, width, device=device)]))
    require_finite(gathered.flatten(1), dtype=dtype)  # of all ranks, so that all of them stop
    order = gather_ragged(torch.cat(index)).argsort()
    return gathered[order].unbind(dim=1), gather_ragged(torch.cat(targets))[order]
