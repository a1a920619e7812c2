"""From a network and a loader to features, each image exactly once over all ranks."""

import torch
from torch import Tensor, nn

from ...pipeline.batch import Loader
from ..ranks import gather, gather_ragged


@torch.no_grad()
def features(net: nn.Module, loader: Loader) -> tuple[Tensor, Tensor]:
    """Features [N, D] float32 and targets [N] of a whole data set, in manifest order, the same on every rank."""
    net.eval()
    device = next(net.parameters()).device
    rows, targets, index = [], [], []
    width = 0
    for batch in loader.epoch(0):
        if len(batch.index):  # a rank's share of the last batch may be empty
            rows.append(net(batch.views[0]).float())
            width = rows[-1].shape[1]
        targets.append(batch.target.to(device))
        index.append(batch.index.to(device))
    width = int(gather(torch.tensor([width], device=device)).max())
    every = gather_ragged(torch.cat([*rows, torch.zeros(0, width, device=device)]))
    order = gather_ragged(torch.cat(index)).argsort()
    return every[order], gather_ragged(torch.cat(targets))[order]
