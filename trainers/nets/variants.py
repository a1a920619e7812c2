"""Library networks, changed so that the releases' weights fit: padding, widths, stems."""

from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import Bottleneck, ResNet

from ...shards.errors import UserError

# Name -> side of the images that its padding is made for (px), dropout of its features.
EFFICIENTNETS = {
    "efficientnet_b0": (224, 0.2),
    "efficientnet_b1": (240, 0.2),
    "efficientnet_b2": (260, 0.3),
    "efficientnet_b3": (300, 0.3),
}


class Padded(nn.Conv2d):
    """A convolution of stride 2 that pads every input by the edges that one of `side` px needs."""

    def __init__(self, conv: nn.Conv2d, side: int):
        kernel = conv.kernel_size[0]
        super().__init__(conv.in_channels, conv.out_channels, kernel, 2, groups=conv.groups, bias=False)
        self.weight = conv.weight
        total = max((-(-side // 2) - 1) * 2 + kernel - side, 0)
        self.edges = (total // 2, total - total // 2) * 2  # left, right, top, bottom, px

    def forward(self, input: Tensor) -> Tensor:
        return F.conv2d(F.pad(input, self.edges), self.weight, stride=2, groups=self.groups)


def efficientnet(arch: str) -> tuple[nn.Module, int]:
    """timm's `tf_` network, always padded for its native resolution, and its width (spec: small A.5, quirk 14)."""
    import timm

    side, dropout = EFFICIENTNETS[arch]
    net = timm.create_model(f"tf_{arch}", num_classes=0, drop_path_rate=0.2, bn_momentum=0.01)
    net.classifier = nn.Dropout(dropout)  # a module in place of timm's `drop_rate`, so that it can be replaced
    for name, conv in list(net.named_modules()):
        if isinstance(conv, nn.Conv2d) and conv.stride[0] == 2:
            parent, _, last = name.rpartition(".")
            setattr(net.get_submodule(parent), last, Padded(conv, side))
            side = -(-side // 2)
    return net, int(net.num_features)  # pyright: ignore[reportArgumentType]


def wide_resnet50(times: int) -> tuple[ResNet, int]:
    """torchvision's ResNet-50 with `times` the channels in every layer, as in SwAV, and its width (spec: SEED 15)."""
    net = ResNet(Bottleneck, [3, 4, 6, 3])
    net.fc = nn.Identity()  # pyright: ignore[reportAttributeAccessIssue]
    if times > 1:
        net.inplanes = 64 * times
        net.conv1 = nn.Conv2d(3, net.inplanes, 7, stride=2, padding=3, bias=False)
        net.bn1 = nn.BatchNorm2d(net.inplanes)
        for stage, blocks in enumerate((3, 4, 6, 3)):
            layers = net._make_layer(Bottleneck, times * 64 * 2**stage, blocks, stride=1 if stage == 0 else 2)
            setattr(net, f"layer{stage + 1}", layers)
        for module in net.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return net, 2048 * times


def resnext152() -> tuple[ResNet, int]:
    """ResNeXt-152 32x8d from torchvision's parts, and its width."""
    net = ResNet(Bottleneck, [3, 8, 36, 3], groups=32, width_per_group=8)
    net.fc = nn.Identity()  # pyright: ignore[reportAttributeAccessIssue]
    return net, 2048


def cifar_stem(net: nn.Module, arch: str) -> None:
    """Give `net` the stem for images of 32 px: 3x3, stride 1, no pooling. UserError unless it is a ResNet."""
    if not isinstance(net, ResNet) and type(net).__module__ != "timm.models.resnet":
        raise UserError(f"--stem cifar is for ResNets, {arch} is not one: leave it out, or choose another --arch")
    net.conv1 = nn.Conv2d(3, net.bn1.num_features, 3, stride=1, padding=1, bias=False)  # pyright: ignore
    nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")
    net.maxpool = nn.Identity()  # pyright: ignore
