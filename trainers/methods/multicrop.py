"""Crops of several sizes through one network: those of one size together, as SwAV and DINO do."""

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor, nn

from ..nets.encoder import Encoder
from .seed import by_image


def by_size(net: nn.Module, views: Sequence[Tensor]) -> Tensor:
    """V views [N, 3, S, S] -> rows [V N, D], crop-major: row v N + n is view v of image n.

    Neighbors of one size pass through `net` together, so BatchNorm takes its statistics over all crops of a size. They
    do so image by image: the place of a crop in the global batch, which dropout is a function of, is then the same for
    any number of ranks.
    """
    sizes = [list(crops) for _, crops in groupby(views, key=lambda view: view.shape[-1])]
    return torch.cat([by_view(net(by_image(crops)), len(crops)) for crops in sizes])


def by_view(rows: Tensor, views: int) -> Tensor:
    """Rows [N V, D], image by image -> [V N, D], view by view."""
    return rows.unflatten(0, (-1, views)).transpose(0, 1).flatten(0, 1)


class MultiCrop(Encoder):
    """An encoder that takes all views of a batch: the backbone by size, then the head on all rows together."""

    def forward(self, views: Sequence[Tensor]) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.head(by_size(self.backbone, views))
