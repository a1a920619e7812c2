"""The quickest loaders that one can write by hand: a thread pool reads a JPEG, decodes it once and cuts every view.

All of them read the bytes of the tars in random order, and draw boxes by torchvision's law with Python's `random`:
torchvision's own draws cost 100 us per view and more.
"""

import math
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import simplejpeg
import torch
from PIL import Image
from torchvision.io import decode_jpeg
from torchvision.transforms.v2 import functional as v2

from viewstream.augment.spec import RandomResizedCrop
from viewstream.pipeline.choose import open_reader
from viewstream.shards.errors import needs
from viewstream.tools.bench.loaders.job import Case, Job

CHUNK = 16  # images per task
Crops = Sequence[RandomResizedCrop]
Views = Callable[[bytes], list[np.ndarray]]


def simplejpeg_v2(job: Job) -> Case:
    """torchvision's antialiased resize on the decoded bytes as they lie, channels last."""
    return _pooled(
        job, lambda jpeg: _resized(torch.from_numpy(simplejpeg.decode_jpeg(jpeg)).permute(2, 0, 1), job.crops)
    )


def torchvision_v2(job: Job) -> Case:
    """torchvision alone: its decoder and its antialiased resize."""
    return _pooled(job, lambda jpeg: _resized(_decoded(jpeg), job.crops))


def _decoded(jpeg: bytes) -> torch.Tensor:
    image = decode_jpeg(torch.frombuffer(bytearray(jpeg), dtype=torch.uint8))
    assert isinstance(image, torch.Tensor)
    return image


def simplejpeg_area(job: Job) -> Case:
    """OpenCV's INTER_AREA."""
    cut = area_views(job.crops)
    return _pooled(job, lambda jpeg: cut(simplejpeg.decode_jpeg(jpeg)))


def simplejpeg_linear(job: Job) -> Case:
    """OpenCV's INTER_LINEAR, which looks at four pixels however large the box is."""
    cut = partial(_cv2_views, job.crops, "INTER_LINEAR")
    return _pooled(job, lambda jpeg: cut(simplejpeg.decode_jpeg(jpeg)))


def simplejpeg_pil(job: Job) -> Case:
    """PIL's resize of a box."""

    def views(jpeg: bytes) -> list[np.ndarray]:
        image, found = Image.fromarray(simplejpeg.decode_jpeg(jpeg)), []
        for crop in job.crops:
            top, left, height, width = _box(crop, image.height, image.width)
            size, box = (crop.size, crop.size), (left, top, left + width, top + height)
            found.append(_mirrored(np.asarray(image.resize(size, Image.Resampling.BILINEAR, box=box))))
        return found

    return _pooled(job, views)


def area_views(crops: Crops) -> Callable[[np.ndarray], list[np.ndarray]]:
    """Image [H, W, 3] -> its views by OpenCV's INTER_AREA."""
    return partial(_cv2_views, crops, "INTER_AREA")


def _cv2_views(crops: Crops, filter: str, image: np.ndarray) -> list[np.ndarray]:
    cv2, found = needs("cv2"), []
    cv2.setNumThreads(1)
    for crop in crops:
        top, left, height, width = _box(crop, *image.shape[:2])
        part = image[top : top + height, left : left + width]
        found.append(_mirrored(cv2.resize(part, (crop.size, crop.size), interpolation=getattr(cv2, filter))))
    return found


def _resized(image: torch.Tensor, crops: Crops) -> list[np.ndarray]:
    """The views of an image [3, H, W] by torchvision."""
    found = []
    for crop in crops:
        box = _box(crop, *image.shape[1:])
        view = v2.resized_crop(image, *box, [crop.size, crop.size], antialias=True)
        found.append((view.flip(-1) if random.random() < 0.5 else view).numpy())
    return found


def _mirrored(view: np.ndarray) -> np.ndarray:
    """The view, mirrored or not."""
    return view[:, ::-1] if random.random() < 0.5 else view


def _box(crop: RandomResizedCrop, height: int, width: int) -> tuple[int, int, int, int]:
    """Top, left, height and width by torchvision's law."""
    for _ in range(10):
        area = height * width * random.uniform(*crop.area)
        aspect = math.exp(random.uniform(math.log(crop.ratio[0]), math.log(crop.ratio[1])))
        wide, high = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < wide <= width and 0 < high <= height:
            return random.randint(0, height - high), random.randint(0, width - wide), high, wide
    side = min(height, width)
    return (height - side) // 2, (width - side) // 2, side, side


def _pooled(job: Job, views: Views) -> Case:
    """Batches of stacked views from a pool of threads, each of which works alone: no threads inside of a library."""
    reader = open_reader("webdataset", job.manifest)

    pool = ThreadPoolExecutor(job.threads, initializer=torch.set_num_threads, initargs=(1,))

    def part(rows: np.ndarray) -> list[list[np.ndarray]]:
        return [views(reader.read(row)) for row in rows.tolist()]  # pyright: ignore[reportArgumentType]

    def run(epoch: int) -> int:
        rows = np.random.default_rng(epoch).permutation(len(job.manifest))[: job.samples]
        parts = [pool.submit(part, rows[at : at + CHUNK]) for at in range(0, len(rows), CHUNK)]
        count, batch = 0, []
        for done in parts:
            batch += done.result()
            if len(batch) >= job.batch:
                count += len(_stacked(batch)[0])
                batch = []
        return count + len(batch)

    return run


def _stacked(samples: list[list[Any]]) -> list[np.ndarray]:
    return [np.stack(images) for images in zip(*samples, strict=True)]
