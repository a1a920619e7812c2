"""The device crop: boxes of decoded images, cropped, resized and mirrored by two batched matrix products.

For a fast GPU beside a slow host: the host only decodes, and the device crops any number of views from one canvas. The
weights are those of PIL (triangle or cubic, crop before resize), computed on the device from the boxes, without syncs.
"""

import math
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import torch
from torch import Tensor

from . import compiler

MAX_CANVAS = 1 << 26  # bytes; the matrix products take eight times as much
SIDE = 8  # px that both sides of a canvas are a multiple of: a GPU's fast products of halves want rows of 16 bytes


def unpack(pixels: Tensor, hw: np.ndarray, first: np.ndarray | None = None) -> Iterator[tuple[slice, Tensor]]:
    """Samples [H, W, 3] in the flat uint8 tensor `pixels`, of sizes `hw` [N, 2] px -> slices of samples, each with its
    canvas [n, max H, max W, 3] of sides rounded up to SIDE, on the device, without syncs. One of several samples has at
    most MAX_CANVAS bytes. Past its sample it repeats the last row and column, which no crop reads.

    `first` [N] int64: where samples begin, px; by default they lie one after the other."""
    area = hw.astype(np.int64).prod(axis=1)
    places = np.column_stack([np.cumsum(area) - area if first is None else first, hw])  # first pixel, height, width
    moved = torch.from_numpy(places)
    moved = moved.pin_memory().to(pixels.device, non_blocking=True) if pixels.is_cuda else moved
    begin = 0
    while begin < len(hw):
        end = begin + 1
        while end < len(hw) and _canvas_bytes(hw[begin : end + 1]) <= MAX_CANVAS:
            end += 1
        height, width = _sides(hw[begin:end])
        yield slice(begin, end), _gathered(pixels, moved[begin:end], height, width)
        begin = end


def _gathered(pixels: Tensor, places: Tensor, height: int, width: int) -> Tensor:
    """Samples at `places` [n, 3] (first pixel, height, width) -> their canvas [n, height, width, 3]."""
    first, rows, columns = places[:, :, None].unbind(1)  # [n, 1] each
    y = torch.arange(height, device=pixels.device).minimum(rows - 1)
    x = torch.arange(width, device=pixels.device).minimum(columns - 1)
    at = (first + y * columns)[:, :, None] + x[:, None, :]  # [n, height, width]
    return pixels.view(-1, 3).index_select(0, at.view(-1)).view(*at.shape, 3)


def _sides(hw: np.ndarray) -> tuple[int, int]:
    height, width = (-(-hw.max(axis=0).astype(np.int64) // SIDE) * SIDE).tolist()
    return height, width


def _canvas_bytes(hw: np.ndarray) -> int:
    return 3 * len(hw) * math.prod(_sides(hw))


def canvas(images: list[np.ndarray]) -> np.ndarray:
    """Decoded images [H, W, 3] uint8 -> [N, max H, max W, 3], each in the upper left corner."""
    height, width = max(len(image) for image in images), max(image.shape[1] for image in images)
    out = np.zeros((len(images), height, width, 3), np.uint8)
    for place, image in zip(out, images, strict=True):
        place[: len(image), : image.shape[1]] = image
    return out


def resized_crop(pixels: Tensor, boxes: Tensor, size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Images [N, H, W, 3] uint8 and their crops [N, CROP_FIELDS] (`augment.crops`) -> [N, size, size, 3] uint8.

    Within 1 level of the host's kernel with products in float32, within 2 in float16.
    """
    return crop(rows_of(pixels, dtype), boxes, size)


def rows_of(pixels: Tensor, dtype: torch.dtype) -> Tensor:
    """Images [N, H, W, 3] uint8 -> [N, H, 3, W] `dtype`: the rows of each color, what `crop` takes for any number of
    views."""
    return pixels.transpose(2, 3).to(dtype, memory_format=torch.contiguous_format)


def crop(rows: Tensor, boxes: Tensor, size: int) -> Tensor:
    """`resized_crop` of `rows_of` images, in their dtype whether autocast is on or not."""
    with torch.autocast(rows.device.type, enabled=False):
        n, height, _, width = rows.shape
        box = boxes.to(rows.device, torch.float32).unbind(1)
        cubic = box[9] > 0
        upright = torch.zeros_like(cubic)
        down = weights(box[0], box[2], box[4], box[6], upright, cubic, height, size)  # [N, size, H]
        across = weights(box[1], box[3], box[5], box[7], box[8] > 0, cubic, width, size)  # [N, size, W]
        x = rows.view(n, 3 * height, width) @ across.to(rows.dtype).transpose(1, 2)  # [N, 3 H, size]
        x = torch.where(cubic[:, None, None], x.round().clamp(0, 255), x)  # PIL rounds and clips: bicubic overshoots
        x = down.to(rows.dtype) @ x.view(n, height, 3 * size)  # [N, size, 3 size]
        x = (x.float() + 0.5).clamp_(0, 255.5).to(torch.uint8)
        return x.view(n, size, 3, size).transpose(2, 3)


@cache
def compiled(size: int) -> Callable[..., Tensor]:
    """`crop` to `size` px, compiled for any number and size of images. A single one, for which torch would compile
    again, is cropped by `crop`."""
    several = compiler.compiled(crop, dynamic=True)

    def either(rows: Tensor, boxes: Tensor, size: int) -> Tensor:
        return (several if len(rows) > 1 else crop)(rows, boxes, size)

    return either


def weights(
    start: Tensor, length: Tensor, total: Tensor, first: Tensor, mirrored: Tensor, cubic: Tensor, pixels: int, size: int
) -> Tensor:
    """[N, size, pixels]: the weight of each source pixel in each output pixel, along one axis. The arguments [N] are
    columns of `crops.crop_params`."""
    out = torch.arange(size, device=start.device, dtype=torch.float32)[None, :]
    out = torch.where(mirrored[:, None], size - 1 - out, out) + first[:, None]  # [N, size]
    scale = (length / total)[:, None]
    center = start[:, None] + (out + 0.5) * scale
    at = torch.arange(pixels, device=start.device, dtype=torch.float32)[None, None, :] + 0.5  # [1, 1, pixels]
    x = (at - center[:, :, None]).abs() / scale.clamp(min=1.0)[:, :, None]
    near, far = (1.5 * x - 2.5) * x * x + 1, ((2.5 - 0.5 * x) * x - 4) * x + 2
    bicubic = torch.where(x < 1, near, torch.where(x < 2, far, 0.0))
    taps = torch.where(cubic[:, None, None], bicubic, (1 - x).clamp(min=0.0))
    begin = start[:, None, None]
    taps = taps * ((at > begin) & (at < begin + length[:, None, None]))
    return taps / taps.sum(2, keepdim=True)
