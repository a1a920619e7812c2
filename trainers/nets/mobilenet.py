"""MobileNetV3 as SEED and ssl-small define it, with their state-dict keys; no library has it (spec: small A.5).

It has the shapes and parameter counts of torchvision's `mobilenet_v3_*` but computes another function:
squeeze-and-excitation comes before the second activation and consists of Linear layers, and BatchNorm keeps torch's
eps and momentum.
"""

import torch.nn.functional as F
from torch import Tensor, nn

# Kernel, expanded channels, output channels, squeeze-and-excitation, h-swish (else ReLU), stride.
Row = tuple[int, int, int, bool, bool, int]
LARGE: tuple[Row, ...] = (
    (3, 16, 16, False, False, 1),
    (3, 64, 24, False, False, 2),
    (3, 72, 24, False, False, 1),
    (5, 72, 40, True, False, 2),
    (5, 120, 40, True, False, 1),
    (5, 120, 40, True, False, 1),
    (3, 240, 80, False, True, 2),
    (3, 200, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 480, 112, True, True, 1),
    (3, 672, 112, True, True, 1),
    (5, 672, 160, True, True, 2),
    (5, 960, 160, True, True, 1),
    (5, 960, 160, True, True, 1),
)
SMALL: tuple[Row, ...] = (
    (3, 16, 16, True, False, 2),
    (3, 72, 24, False, False, 2),
    (3, 88, 24, False, False, 1),
    (5, 96, 40, True, True, 2),
    (5, 240, 40, True, True, 1),
    (5, 240, 40, True, True, 1),
    (5, 120, 48, True, True, 1),
    (5, 144, 48, True, True, 1),
    (5, 288, 96, True, True, 2),
    (5, 576, 96, True, True, 1),
    (5, 576, 96, True, True, 1),
)


def eighths(channels: float) -> int:
    """The multiple of 8 (8 at least) nearest to `channels`; the next one where rounding would lose over a tenth."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


class Squeeze(nn.Module):
    """Squeeze-and-excitation: scale each channel by a factor in 0-1 computed from the means of all channels."""

    def __init__(self, channels: int):
        super().__init__()
        hidden = eighths(channels // 4)
        self.fc = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, channels), nn.Hardsigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.fc(x.mean(dim=(2, 3)))[:, :, None, None]  # [N, C, H, W]


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs)]


class Block(nn.Module):
    """Expand the channels, filter each, project; add the input where shapes allow."""

    def __init__(self, inputs: int, row: Row):
        super().__init__()
        kernel, expanded, outputs, squeeze, swish, stride = row
        act = nn.Hardswish if swish else nn.ReLU
        se = Squeeze(expanded) if squeeze else nn.Identity()
        depthwise = _conv(expanded, expanded, kernel, stride, groups=expanded)
        if expanded == inputs:
            layers = [*depthwise, act(), se]
        else:
            layers = [*_conv(inputs, expanded, 1), act(), *depthwise, se, act()]
        self.conv = nn.Sequential(*layers, *_conv(expanded, outputs, 1))
        self.skip = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.skip else self.conv(x)


class MobileNetV3(nn.Module):
    """Images [N, 3, S, S] -> features [N, width], taken after the last hidden layer and its dropout."""

    def __init__(self, rows: tuple[Row, ...], width: int):
        super().__init__()
        inputs = (16, *(row[2] for row in rows))
        stem = nn.Sequential(*_conv(3, 16, 3, stride=2), nn.Hardswish())
        self.features = nn.Sequential(stem, *(Block(c, row) for c, row in zip(inputs, rows, strict=False)))
        expanded = rows[-1][1]
        self.conv = nn.Sequential(*_conv(inputs[-1], expanded, 1), nn.Hardswish())
        self.classifier = nn.Sequential(nn.Linear(expanded, width), nn.Hardswish(), nn.Dropout(0.2))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=(2 / (module.kernel_size[0] ** 2 * module.out_channels)) ** 0.5)
            elif isinstance(module, nn.Linear):
                small(module)

    def forward(self, x: Tensor) -> Tensor:
        x = F.adaptive_avg_pool2d(self.conv(self.features(x)), 1)  # [N, C, 1, 1]
        return self.classifier(x.flatten(1))


def small(layer: nn.Linear) -> None:
    """Initialize a layer as these networks do all their Linear layers: weights from N(0, 0.01^2), bias 0."""
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.zeros_(layer.bias)
