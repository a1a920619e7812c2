"""Crops of several sizes through one network: those of one size together, as SwAV and DINO do."""

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor, nn

from ..nets.encoder import Encoder


def by_size(net: nn.Module, views: Sequence[Tensor]) -> Tensor:
    """V views [N, 3, S, S] -> rows [V N, D], crop-major: row v N + n is view v of image n.

    Neighbors of one size pass through `net` together, so BatchNorm takes its statistics over all crops of a size.
    """
    sizes = groupby(views, key=lambda view: view.shape[-1])
    return torch.cat([net(torch.cat(list(crops))) for _, crops in sizes])


class MultiCrop(Encoder):
    """An encoder that takes all views of a batch: the backbone by size, then the head on all rows together."""

    def forward(self, views: Sequence[Tensor]) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.head(by_size(self.backbone, views))
