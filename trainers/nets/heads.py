"""The projection heads that methods train with."""

from torch import nn

from ...shards.errors import choose
from .dino_head import Bottleneck

HEADS = ("linear", "mlp", "wide", "deep", "dropout", "projector", "simclr-3", "simclr-2", "sdclr", "dino")
OWN_LAST = ("linear", "mlp", "deep", "dropout")  # which end in a layer of the network itself


def head(kind: str, width: int, dim: int, hidden: int = 0) -> nn.Sequential | nn.Linear | Bottleneck:
    """A projection head: features [N, width] -> [N, dim].

    `linear`: MoCo v1; `mlp`: MoCo v2, sthalles/SimCLR; `wide`, `deep`, `dropout`: spec small A.4; `projector`: BYOL and
    SwAV, with `hidden` channels; `simclr-3`, `simclr-2`: SimCLR v2 and v1; `sdclr`: SDCLR's SimCLR; `dino`: without its
    last layer, with `hidden` channels or 2048.
    """
    if choose("head", kind, HEADS) == "projector":
        return mlp_with_norm(width, hidden, dim)
    if kind in ("simclr-3", "simclr-2"):
        return _simclr_head(width, dim, layers=int(kind[-1]))
    if kind == "sdclr":
        return nn.Sequential(
            *mlp_with_norm(width, width, dim)[:3], nn.Linear(width, dim, bias=False), nn.BatchNorm1d(dim)
        )
    if kind == "dino":
        return Bottleneck(width, dim, hidden=hidden or 2048)
    last = nn.Linear(2 * width if kind == "wide" else width, dim)
    if kind == "linear":
        return last
    layers: list[nn.Module] = [nn.Linear(width, last.in_features), nn.ReLU(inplace=True)]
    if kind == "deep":
        layers += [nn.Linear(width, width), nn.ReLU(inplace=True)]
    if kind == "dropout":
        layers += [nn.Dropout(0.5)]
    return nn.Sequential(*layers, last)


def mlp_with_norm(width: int, hidden: int, dim: int) -> nn.Sequential:
    """An MLP with one hidden layer and BatchNorm: features [N, width] -> [N, dim]."""
    first, last = nn.Linear(width, hidden), nn.Linear(hidden, dim)
    return nn.Sequential(first, nn.BatchNorm1d(hidden), nn.ReLU(inplace=True), last)


def _simclr_head(width: int, dim: int, layers: int) -> nn.Sequential:
    """Layers without bias, each with BatchNorm; the last BatchNorm has no offset: its bias stays zero."""
    parts: list[nn.Module] = []
    for number in range(1, layers + 1):
        size = dim if number == layers else width
        parts += [nn.Linear(width, size, bias=False), nn.BatchNorm1d(size), nn.ReLU(inplace=True)]
    last = parts[-2]
    assert isinstance(last, nn.BatchNorm1d)
    last.bias.requires_grad_(False)
    return nn.Sequential(*parts[:-1])


def teacher_head(width: int, hidden: int, dim: int, *, norm: bool) -> nn.Sequential:
    first, last = nn.Linear(width, hidden), nn.Linear(hidden, dim)
    return nn.Sequential(first, *([nn.BatchNorm1d(hidden)] if norm else []), nn.ReLU(inplace=True), last)
