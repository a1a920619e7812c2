"""Encoders: backbones by name, with the projection heads that methods train with."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models

from ...shards.errors import UserError, choose
from .heads import OWN_LAST, head, teacher_head
from .mobilenet import LARGE, SMALL, MobileNetV3, small
from .variants import EFFICIENTNETS, cifar_stem, efficientnet, resnext152, wide_resnet50

# Teacher with its own head -> multiple of ResNet-50's channels, width of the head's hidden layer (spec: SEED 11, 15).
TEACHERS = {
    "simclr_resnet50": (1, 2048),
    "swav_resnet50": (1, 2048),
    "swav_resnet50_w2": (2, 8192),
    "swav_resnet50_w4": (4, 8192),
    "swav_resnet50_w5": (5, 10240),
}
MOBILENETS = {"mobilenetv3_large": (LARGE, 1280), "mobilenetv3_small": (SMALL, 1024)}


class Encoder(nn.Module):
    """Images [N, 3, S, S] -> embeddings [N, dim]: backbone, then head. Evaluations use the backbone alone."""

    def __init__(self, backbone: nn.Module, head: nn.Module):
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.backbone(x))


def seeded(seed: int) -> None:
    """Seed torch's generator, so that the weights drawn next are a function of `seed`."""
    torch.manual_seed(seed % 2**63)


def backbone(arch: str, stem: str = "imagenet", blocks: int = 0) -> tuple[nn.Module, int]:
    """A randomly initialized network without its classifier, and the width of its features; with `blocks` they are the
    class tokens of so many last blocks of a ViT.

    `mobilenetv3_*`, `efficientnet_b0` to `b3`, `swav_*` and `simclr_*` are the networks of the source releases. Another
    name builds torchvision's network if torchvision has it (`resnet50`), otherwise timm's (`resnet10t`,
    `tf_efficientnet_b0`); its ViTs take images of several sizes (`vit.py`). UserError for an unknown `arch` or `stem`,
    and for a network that does not fit.
    """
    net, width = _network(arch)
    if choose("stem", stem, ("imagenet", "cifar")) == "cifar":
        cifar_stem(net, arch)
    if blocks:
        from .vit import take_last_blocks

        width = take_last_blocks(net, blocks)
    return net, width


def _network(arch: str) -> tuple[nn.Module, int]:
    if arch in MOBILENETS:
        rows, width = MOBILENETS[arch]
        return MobileNetV3(rows, width), width
    if arch in EFFICIENTNETS:
        return efficientnet(arch)
    if arch in TEACHERS:
        return wide_resnet50(TEACHERS[arch][0])
    if arch == "resnext152_32x8d":
        return resnext152()
    known = models.list_models(module=models)
    if arch in known:
        return _torchvision(arch)
    import timm  # takes half a second, which the networks above can do without

    from .vit import any_size

    names = [*known, *MOBILENETS, *TEACHERS, "resnext152_32x8d", *timm.list_models()]
    net = any_size(timm.create_model(choose("arch", arch, names), num_classes=0))
    return net, int(getattr(net, "head_hidden_size", None) or net.num_features)  # pyright: ignore


def check_sizes(arch: str, sizes: Sequence[int]) -> None:
    """UserError for a ViT that does not take square images of all these `sizes`, in px; any other network passes."""
    with torch.device("meta"):
        net: Any = _network(arch)[0]
    cut = getattr(net, "patch_embed", net)  # timm's layer of patches; torchvision's ViTs have its numbers themselves
    if getattr(cut, "strict_img_size", hasattr(cut, "image_size")):
        own = getattr(cut, "image_size", 0) or cut.img_size[0]
        wrong, takes = [size for size in sizes if size != own], f"takes images of {own} px alone, not of"
    else:
        own = cut.patch_size[0] if hasattr(cut, "strict_img_size") else 1
        wrong, takes = [size for size in sizes if size % own], f"has patches of {own} px, which do not divide"
    if wrong:
        found = " and ".join(f"{size} px" for size in dict.fromkeys(wrong))
        raise UserError(f"{arch} {takes} {found}: choose another --size, or --arch")


def _torchvision(arch: str) -> tuple[nn.Module, int]:
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


def encoder(
    arch: str, kind: str, dim: int, seed: int | None = None, *, stem: str = "imagenet", hidden: int = 0
) -> Encoder:
    """A backbone with a head of `kind`, its weights drawn from `seed` if one is given.

    A network of `TEACHERS` gets its own head, whatever `kind` is. The heads OWN_LAST of a MobileNetV3 end in the
    network's own last layer, which starts with small weights.
    """
    if seed is not None:
        seeded(seed)
    net, width = backbone(arch, stem)
    if arch in TEACHERS:
        return Encoder(net, teacher_head(width, TEACHERS[arch][1], dim, norm=arch != "swav_resnet50_w5"))
    projection = head(kind, width, dim, hidden)
    if isinstance(net, MobileNetV3) and kind in OWN_LAST:
        small(projection if isinstance(projection, nn.Linear) else projection[-1])  # pyright: ignore
    return Encoder(net, projection)
