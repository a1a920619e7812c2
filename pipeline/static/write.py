"""Write a static augmented set: each image and its views of one epoch as JPEGs, the same with any number of workers.

Pixels come from the host renderer, which training on a CPU uses, or from the device renderer, for a run on a GPU: in
float32 without normalization, rounded to 8 bits. Each thread renders a few images at a time, so no sum depends on
batch, cores or workers, and the planes of an image stay in the cache of a core.
"""

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import simplejpeg
import torch
from PIL import Image

from ...augment import pairs
from ...augment.crops import on_device
from ...augment.spec import HideAndSeek, Normalize, RandomResizedCrop, View, Views, size_of, user_ops
from ...shards.errors import UserError
from ...shards.manifest import Manifest, file_of
from ..batch import SampleReader
from ..cut.resize import resized_crop
from ..damage import check_size, damaged
from ..plan.params import batch_params
from .describe import Written, table_of

EPOCH = 0
TOGETHER = 4  # images rendered at a time: the fastest on one core
QUALITY = 75  # with PIL's 4:2:0, like the paper's files
Render = Callable[..., torch.Tensor]  # of a renderer: ops, cropped pixels, packed parameters -> views


def bare(views: Views, count: int, mode: str) -> Views:
    """`count` views, those of the recipe in turn, without normalization. UserError for what `mode` or a JPEG cannot
    show."""
    if any(isinstance(op, HideAndSeek) for view in views for op in view):
        raise UserError("a mask hides normalized pixels, a JPEG has none: choose a recipe without a mask")
    if any(map(user_ops, views)):
        raise UserError("an op of your own changes normalized pixels, a JPEG has none: choose a recipe without it")
    if mode != "normal" and (count != 2 or not all(isinstance(view[0], RandomResizedCrop) for view in views)):
        raise UserError(f"--mode {mode} draws two crops together: give --views 2 and a recipe of random crops")
    in_turn = [views[i % len(views)] for i in range(count)]
    return tuple(tuple(op for op in view if not isinstance(op, Normalize)) for view in in_turn)


def frozen_images(
    manifest: Manifest,
    reader: SampleReader,
    rows: np.ndarray,
    views: Views,
    render: Render,
    *,
    mode: str = "normal",
    seed: int = 0,
) -> Iterator[list[np.ndarray]]:
    """For each of `rows` [N] its stored image [H, W, 3] and its files -1, -2, ..., each [S, S, 3], uint8. `views`: from
    `bare`."""
    params = batch_params(manifest, views, rows, seed, EPOCH)
    boxes, patched = params.boxes, mode in pairs.OVERLAPS
    mirrored = boxes[:, :, 8].copy()
    if mode != "normal":
        crop = views[0][0]
        assert isinstance(crop, RandomResizedCrop)
        boxes[:, :, :4] = pairs.boxes(mode, crop, manifest.uid[rows], manifest.hw[rows], seed=seed, epoch=EPOCH)
    if patched:
        boxes[:, :, 8] = 0  # patches come before the mirror
    for start in range(0, len(rows), TOGETHER):
        part = slice(start, start + TOGETHER)
        images = [_decoded(manifest, reader, int(row)) for row in rows[part]]
        rendered = [
            _rendered(images, boxes[part, v], view, params.packed[v][part], render) for v, view in enumerate(views)
        ]
        for i, image in enumerate(images):
            files, at = [view[i] for view in rendered], start + i
            if patched:
                uid = int(manifest.uid[rows[at]])
                files = pairs.variants(np.stack(files), boxes[at, :, :4], mirrored[at], uid, seed=seed, epoch=EPOCH)
            yield [image, *files]


@dataclass(frozen=True)
class Freezer:
    """Writes rows as `<class>/<image>-0.jpeg`, -1, -2, ... under `out`; any number of threads may call it."""

    manifest: Manifest
    reader: SampleReader
    names: dict[int, str]  # of `names_of`
    numbers: dict[str, int]  # of the classes, by name
    views: Views
    render: Render
    mode: str
    seed: int
    out: Path

    def __call__(self, rows: np.ndarray) -> pa.Table:
        """Write the images of `rows`; returns the rows of a manifest for their files."""
        images = frozen_images(
            self.manifest, self.reader, rows, self.views, self.render, mode=self.mode, seed=self.seed
        )
        written = [
            self._write(f"{self.names[row]}-{number}", pixels)
            for row, files in zip(rows.tolist(), images, strict=True)
            for number, pixels in enumerate(files)
        ]
        return table_of(written)

    def _write(self, key: str, pixels: np.ndarray) -> Written:
        jpeg, label = encoded(pixels), self.numbers[key.rpartition("/")[0]]
        Path(file_of(self.out, key, static=True)).write_bytes(jpeg)
        height, width, _ = pixels.shape  # what goes to the disk has the digest, not what comes back from there
        return Written(key, label, height, width, hashlib.sha256(jpeg).digest(), len(jpeg))


def encoded(pixels: np.ndarray) -> bytes:
    """The JPEG of an image [H, W, 3] uint8."""
    stored = io.BytesIO()
    Image.fromarray(pixels).save(stored, "JPEG", quality=QUALITY)  # simplejpeg's faster transform is coarser
    return stored.getvalue()


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _decoded(manifest: Manifest, reader: SampleReader, row: int) -> np.ndarray:
    try:
        data = reader.read(row)
    except OSError as error:
        raise UserError(f"{reader.locate(row)} cannot be read ({error.strerror}): {manifest.repair()}") from error
    try:
        image = data if isinstance(data, np.ndarray) else simplejpeg.decode_jpeg(data)
    except ValueError as error:
        raise damaged(manifest, reader, row, str(error), data) from error
    height, width = image.shape[:2]
    check_size(manifest, reader, row, height, width, data)
    return image


def _rendered(
    images: Iterable[np.ndarray], boxes: np.ndarray, view: View, packed: torch.Tensor, render: Render
) -> np.ndarray:
    """One view of images [H, W, 3], by crops [n, CROP_FIELDS] and parameters [n, P]: [n, S, S, 3] uint8."""
    size = size_of(view)
    pixels = np.empty((len(boxes), size, size, 3), np.uint8)
    for image, box, out in zip(images, boxes, pixels, strict=True):
        resized_crop(image.reshape(-1), image.shape[1], box, size, out.reshape(-1))
    rendered = render(on_device(view), torch.from_numpy(pixels), packed)
    return rendered.mul_(255).round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
