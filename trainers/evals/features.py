"""Features of a whole data set: a network applied to a loader, each image exactly once over all ranks."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ...pipeline.batch import Batch, Loader
from ...shards.progress import Bar
from ..marks import progress
from ..precision import without_tf32
from ..ranks import complete, gather, rank
from .checks import require_finite


def features(net: nn.Module, loader: Loader, samples: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Features [N, D] float32 and targets [N] of the N `samples` of a data set, in manifest order, the same on every
    rank.

    `dtype`: of the network's products; float32 without TF32. UserError for features that are not finite.
    """
    (x,), y = view_features(net, loader, samples, 1, dtype)
    return x, y


@torch.no_grad()
@without_tf32()
def view_features(
    net: nn.Module, loader: Loader, samples: int, views: int, dtype: torch.dtype = torch.float32
) -> tuple[tuple[Tensor, ...], Tensor]:
    """As `features`, for the first `views` views of each image: [N, D] for each view, and targets [N]."""
    net.eval()
    device = next(net.parameters()).device
    cast = torch.autocast(device.type, dtype, enabled=dtype != torch.float32)
    x, y = torch.zeros(samples, views, 0, device=device), torch.zeros(samples, dtype=torch.long, device=device)
    for batch in _marked(loader):
        index = batch.index.to(device)
        y[index] = batch.target.to(device)
        if not len(index):  # a rank's share of the last batch may be empty
            continue
        for number, view in enumerate(batch.views[:views]):
            with cast:
                rows = net(view)
            if not x.shape[2]:
                x = x.new_zeros(samples, views, rows.shape[1])  # in place, since several copies may not fit
            x[index, number] = rows.float()
    progress.at("the features of all ranks")
    width = int(gather(torch.tensor([x.shape[2]], device=device)).max())
    if x.shape[2] < width:  # of a rank without any image
        x = x.new_zeros(samples, views, width)
    complete(x)
    complete(y)
    progress.rest()  # what is computed from them may take long
    require_finite(x.flatten(1), dtype=dtype)  # of all ranks, so that all of them stop
    return x.unbind(dim=1), y


def _marked(loader: Loader) -> Iterator[Batch]:
    """The batches of an evaluation, each a mark."""
    progress.at("the loader's first batch of images to evaluate")
    with Bar(len(loader), "batch", "features", quiet=bool(rank())) as bar:
        for number, batch in enumerate(loader.epoch(0), 1):
            progress.at(f"batch {number} of the images to evaluate")
            yield batch
            bar.update()
