"""Images with their draws, and the views that each renderer makes of them: the data of tools/look.py."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import simplejpeg
import torch
from PIL import Image
from torch import Tensor

from viewstream.augment.crops import crop_params, on_device, rest
from viewstream.augment.draw import Draws, draw
from viewstream.augment.renderers import dali, device, packing, reference
from viewstream.augment.spec import Views, size_of
from viewstream.pipeline.choose import open_reader
from viewstream.pipeline.cut.resize import resized_crop
from viewstream.pipeline.kernels import warm_up
from viewstream.pipeline.readers.ranged import RangedReader
from viewstream.pipeline.readers.remote import is_remote
from viewstream.shards.formats.reader import SampleReader
from viewstream.shards.manifest import Manifest


@dataclass(frozen=True)
class Samples:
    """N images and the draws of each view."""

    views: Views
    names: list[str]  # row and key, which begins with the class
    jpegs: list[bytes]
    images: list[Image.Image]
    draws: list[Draws]  # one per view

    @property
    def hw(self) -> np.ndarray:
        """[N, 2] heights and widths, px."""
        return np.array([(image.height, image.width) for image in self.images])


def load(
    manifest: Manifest,
    loader: str,
    rows: np.ndarray,
    views: Views,
    seed: int,
    epoch: int,
    occurrence: int | np.ndarray = 0,
) -> Samples:
    """The samples of manifest `rows` [N], in their showing `occurrence` [N] of the epoch; raw pixels become JPEGs of
    quality 100 for the renderers that decode."""
    with _reader(manifest, loader, rows) as reader:
        data = [reader.read(int(row)) for row in rows]
    images = [Image.fromarray(d if isinstance(d, np.ndarray) else simplejpeg.decode_jpeg(d)) for d in data]
    jpegs = [d if isinstance(d, bytes) else simplejpeg.encode_jpeg(d, 100, colorsubsampling="444") for d in data]
    uid, hw = manifest.uid[rows], manifest.hw[rows]
    shown = {"seed": seed, "epoch": epoch, "occurrence": occurrence}
    draws = [draw(view, uid, hw, number=number, **shown) for number, view in enumerate(views)]
    return Samples(views, [f"{row} {manifest.key(row)}" for row in rows], jpegs, images, draws)


def _reader(manifest: Manifest, loader: str, rows: np.ndarray) -> SampleReader:
    if not is_remote(manifest) or loader not in ("webdataset", "ffcv"):
        return open_reader(loader, manifest)
    reader = RangedReader(manifest, loader)  # no whole tars for few samples
    reader.prefetch(iter([rows]))
    return reader


def by_reference(samples: Samples) -> list[Tensor]:
    """Every view by PIL and torchvision, [N, 3, S, S] normalized."""
    return [
        torch.stack([reference.render(view, image, draws, row) for row, image in enumerate(samples.images)])
        for view, draws in zip(samples.views, samples.draws, strict=True)
    ]


def by_device(samples: Samples) -> list[Tensor]:
    """Every view cropped by the host and rendered by the device renderer, [N, 3, S, S] normalized."""
    warm_up(rendering=False)
    rendered = []
    for view, draws in zip(samples.views, samples.draws, strict=True):
        n, size = len(samples.images), size_of(view)
        pixels = np.empty((n, size, size, 3), np.uint8)
        for image, box, out in zip(samples.images, crop_params(view, draws, samples.hw), pixels, strict=True):
            resized_crop(np.asarray(image).reshape(-1), image.width, box, size, out.reshape(-1))
        packed = torch.from_numpy(packing.pack(rest(view, draws), n))
        rendered.append(device.render(on_device(view), torch.from_numpy(pixels), packed))
    return rendered


def by_dali(samples: Samples) -> list[Tensor]:
    """Every view by DALI as far as it follows the draws, then by the device renderer, [N, 3, S, S] normalized."""
    n, rendered = len(samples.images), []
    renderer = dali.Renderer(samples.views, n)
    parts = renderer(samples.jpegs, samples.hw, samples.draws)
    for view, draws, x, finished in zip(samples.views, samples.draws, parts, renderer.finished, strict=True):
        packed = torch.from_numpy(packing.pack(dali.rest(view, draws), n))
        rendered.append(x.clone() if finished else device.render(dali.split(view)[1], x, packed))
    return rendered


RENDERERS: dict[str, Callable[[Samples], list[Tensor]]] = {
    "reference": by_reference,
    "device": by_device,
    "dali": by_dali,
}
