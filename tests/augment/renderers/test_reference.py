"""The reference renderer resizes like torchvision, in whichever order Pillow resizes the two sides."""

import numpy as np
import pytest
import torch
from torchvision.transforms import functional as F

from viewstream.augment.draw import draw
from viewstream.augment.renderers import reference
from viewstream.augment.spec import IMAGENET_MEAN, IMAGENET_STD, Normalize, RandomResizedCrop, ResizeCenterCrop

STD = torch.tensor(IMAGENET_STD).view(3, 1, 1)


def by_torchvision(image, op, draw, row):
    """The crop of one image, normalized [3, 96, 96]."""
    mode = F.InterpolationMode(op.filter)
    if isinstance(op, RandomResizedCrop):
        top, left, height, width = (int(v) for v in draw["box"][row])
        image = F.resized_crop(image, top, left, height, width, [96, 96], mode)
    else:
        image = F.center_crop(F.resize(image, [op.short], mode), [96, 96])
    return F.normalize(F.to_tensor(image), list(IMAGENET_MEAN), list(IMAGENET_STD))


@pytest.mark.parametrize(("filter", "mean", "largest"), [("bilinear", 0.3, 2.001), ("bicubic", 0.3, 12)])
def test_crops_are_those_of_torchvision(photos, filter, mean, largest):
    images = photos(24)
    hw = np.array([(i.height, i.width) for i in images])
    for op in (RandomResizedCrop(96, filter=filter), ResizeCenterCrop(96, 110, filter)):
        view = (op, Normalize())
        draws = draw(view, np.arange(24, dtype=np.uint64), hw, seed=0, epoch=0, number=0)
        for i, image in enumerate(images):
            gap = (reference.render(view, image, draws, i) - by_torchvision(image, op, draws[0], i)).abs() * STD * 255
            assert gap.mean() <= mean
            assert gap.max() <= largest
