"""Features of a whole data set: a network applied to a loader, each image exactly once over all ranks."""

import torch
from torch import Tensor, nn

from ...pipeline.batch import Loader
from ..ranks import gather, gather_ragged


def features(net: nn.Module, loader: Loader) -> tuple[Tensor, Tensor]:
    """Features [N, D] float32 and targets [N] of a data set, in manifest order, the same on every rank."""
    (x,), y = view_features(net, loader, 1)
    return x, y


@torch.no_grad()
def view_features(net: nn.Module, loader: Loader, views: int) -> tuple[tuple[Tensor, ...], Tensor]:
    """As `features`, for the first `views` views of each image: [N, D] for each view, and targets [N]."""
    net.eval()
    device = next(net.parameters()).device
    rows, targets, index = [], [], []
    width = 0
    for batch in loader.epoch(0):
        if len(batch.index):  # a rank's share of the last batch may be empty
            rows.append(torch.stack([net(view).float() for view in batch.views[:views]], dim=1))  # [n, views, D]
            width = rows[-1].shape[2]
        targets.append(batch.target.to(device))
        index.append(batch.index.to(device))
    width = int(gather(torch.tensor([width], device=device)).max())
    gathered = gather_ragged(torch.cat([*rows, torch.zeros(0, views, width, device=device)]))
    order = gather_ragged(torch.cat(index)).argsort()
    return gathered[order].unbind(dim=1), gather_ragged(torch.cat(targets))[order]
