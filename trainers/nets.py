"""Encoders: a backbone by name from torchvision or timm, and the head a method trains with."""

import timm
import torch
from torch import Tensor, nn
from torchvision import models

from ..shards.errors import UserError, choose


class Encoder(nn.Module):
    """Images -> embeddings; evaluations use the backbone alone."""

    def __init__(self, backbone: nn.Module, head: nn.Module):
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.backbone(x))  # [N, 3, S, S] -> [N, dim]


def backbone(arch: str) -> tuple[nn.Module, int]:
    """A network without its classifier, randomly initialised, and the width of its features.

    A torchvision name (`resnet50`) takes torchvision's network, any other name timm's (`resnet10t`).
    """
    ours = models.list_models(module=models)
    if arch not in ours:
        net = timm.create_model(choose("arch", arch, [*ours, *timm.list_models()]), num_classes=0)
        return net, int(getattr(net, "head_hidden_size", None) or net.num_features)  # pyright: ignore
    net = models.get_model(arch, weights=None)
    for name in ("fc", "classifier", "heads", "head"):  # where torchvision's families keep their classifier
        if hasattr(net, name):
            layers = [m for m in getattr(net, name).modules() if isinstance(m, nn.Linear)]
            if layers and not hasattr(net, "AuxLogits") and not hasattr(net, "aux1"):  # those return several tensors
                _replace(net, layers[-1], nn.Identity())
                return net, layers[-1].in_features
    raise UserError(f"torchvision's {arch} does not end in one linear classifier: choose another --arch")


def _replace(net: nn.Module, old: nn.Module, new: nn.Module) -> None:
    path = next(name for name, module in net.named_modules() if module is old)
    parent, _, name = path.rpartition(".")
    setattr(net.get_submodule(parent), name, new)


def head(kind: str, width: int, dim: int) -> nn.Module:
    """`linear`: one layer (MoCo v1); `mlp`: a hidden layer of the features' width (MoCo v2)."""
    if choose("head", kind, ("linear", "mlp")) == "linear":
        return nn.Linear(width, dim)
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(inplace=True), nn.Linear(width, dim))


def encoder(arch: str, head_kind: str, dim: int, seed: int) -> Encoder:
    """Backbone and head with weights drawn from `seed`."""
    torch.manual_seed(seed % 2**63)
    net, width = backbone(arch)
    return Encoder(net, head(head_kind, width, dim))
