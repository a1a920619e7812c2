"""One MoCo v2 view without its crop, by this project, kornia, torchvision and PIL: the cases of augment.py."""

from collections.abc import Callable
from contextlib import closing
from itertools import count
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor
from torchvision.transforms import transforms as v1
from torchvision.transforms import v2

from viewstream.augment.crops import on_device, rest
from viewstream.augment.draw import draw
from viewstream.augment.renderers import packing
from viewstream.augment.spec import IMAGENET_MEAN, IMAGENET_STD, GaussianBlur, Normalize, RandomResizedCrop, View
from viewstream.pipeline.choose import open_reader
from viewstream.pipeline.loader import ViewLoader
from viewstream.pipeline.plan.order import Plan
from viewstream.shards.errors import needs
from viewstream.shards.manifest import Manifest

JITTER, SIGMA = (0.4, 0.4, 0.4, 0.1), (0.1, 2.0)
TAPS = 2 * packing.reach(GaussianBlur()) + 1
Case = Callable[[], Any]


def squares(data: str, samples: int, size: int) -> np.ndarray:
    """[N, S, S, 3] uint8: random crops of the built set `data`, or smooth colors with grain if it is empty."""
    if data:
        manifest = Manifest.open(data)
        reader, views = open_reader(manifest.info.formats[0], manifest), ((RandomResizedCrop(size), Normalize()),)
        loader = ViewLoader(manifest, Plan(len(manifest), samples), views, reader)
        with closing(loader), closing(loader.host_batches(0)) as batches:
            return next(batches).pixels.views()[0].numpy().copy()
    rng = np.random.default_rng(0)
    coarse = [Image.fromarray(c) for c in rng.integers(0, 256, (samples, 7, 9, 3), dtype=np.uint8)]
    smooth = np.stack([np.asarray(c.resize((size, size), Image.Resampling.BICUBIC)) for c in coarse]).astype(np.int16)
    return (smooth + rng.integers(-6, 7, smooth.shape)).clip(0, 255).astype(np.uint8)


def parameters(view: View, samples: int, epoch: int) -> np.ndarray:
    """Draws of one epoch, packed for the device renderer: [N, P]."""
    uid, hw = np.arange(samples, dtype=np.uint64), np.full((samples, 2), 400)
    return packing.pack(rest(view, draw(view, uid, hw, seed=0, epoch=epoch, number=0)), samples)


def ours(pixels: Tensor, view: View, render: Callable[..., Tensor]) -> Case:
    """Draw, pack and render. Nothing is mirrored here: the host mirrors at no cost while it crops."""
    epochs = count()

    def case() -> Tensor:
        packed = torch.from_numpy(parameters(view, len(pixels), next(epochs)))
        if pixels.is_cuda:
            packed = packed.pin_memory().to(pixels.device, non_blocking=True)
        return render(on_device(view), pixels, packed)

    return case


def kornia_container(pixels: Tensor) -> Case:
    """kornia's container on planes [N, 3, S, S], its preferred layout."""
    aug = needs("kornia.augmentation")
    transforms = (
        aug.ColorJitter(*JITTER, p=0.8),
        aug.RandomGrayscale(p=0.2),
        aug.RandomGaussianBlur((TAPS, TAPS), SIGMA, p=0.5),
        aug.RandomHorizontalFlip(p=0.5),
        aug.Normalize(mean=torch.tensor(IMAGENET_MEAN), std=torch.tensor(IMAGENET_STD)),
    )
    container = aug.AugmentationSequential(*transforms, data_keys=["input"]).to(pixels.device)
    planes = pixels.permute(0, 3, 1, 2).contiguous()
    return lambda: container(planes.float() / 255)


def torchvision_v2(pixels: Tensor) -> Case:
    """torchvision's v2 transforms on one image at a time; a whole batch would share one draw."""
    transforms = (
        v2.RandomApply([v2.ColorJitter(*JITTER)], 0.8),
        v2.RandomGrayscale(0.2),
        v2.RandomApply([v2.GaussianBlur(TAPS, SIGMA)], 0.5),
        v2.RandomHorizontalFlip(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(list(IMAGENET_MEAN), list(IMAGENET_STD)),
    )
    compose, planes = v2.Compose(transforms), pixels.permute(0, 3, 1, 2).contiguous()
    return lambda: torch.stack([compose(image) for image in planes])


def pil(pixels: np.ndarray) -> Case:
    """torchvision's first transforms on PIL images."""

    def blur(image: Image.Image) -> Image.Image:
        return image.filter(ImageFilter.GaussianBlur(float(np.random.default_rng().uniform(*SIGMA))))

    transforms = (
        v1.RandomApply([v1.ColorJitter(*JITTER)], 0.8),
        v1.RandomGrayscale(0.2),
        v1.RandomApply([blur], 0.5),
        v1.RandomHorizontalFlip(),
        v1.ToTensor(),
        v1.Normalize(IMAGENET_MEAN, IMAGENET_STD),
    )
    compose, images = v1.Compose(transforms), [Image.fromarray(image) for image in pixels]
    return lambda: torch.stack([compose(image) for image in images])  # pyright: ignore
