"""The device crop: boxes of decoded images, cropped, resized and mirrored by two batched matrix products.

For a fast GPU beside a slow host: the host only decodes, and the device crops any number of views from one canvas. The
weights are those of PIL (triangle or cubic, crop before resize), computed on the device from the boxes, without syncs.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

MAX_CANVAS = 1 << 26  # bytes; the matrix products take eight times as much


def unpack(pixels: Tensor, hw: np.ndarray) -> Iterator[tuple[slice, Tensor]]:
    """Samples [H, W, 3], one after the other in the flat uint8 tensor `pixels`, of sizes `hw` [N, 2] px -> slices of
    samples, each with its canvas [n, max H, max W, 3], on the device, without syncs. A canvas of several samples has at
    most MAX_CANVAS bytes."""
    ends = np.concatenate([[0], np.cumsum(3 * hw.astype(np.int64).prod(axis=1))]).tolist()
    begin = 0
    while begin < len(hw):
        end = begin + 1
        while end < len(hw) and _canvas_bytes(hw[begin : end + 1]) <= MAX_CANVAS:
            end += 1
        height, width = hw[begin:end].max(axis=0).tolist()
        out = pixels.new_zeros(end - begin, height, width, 3)
        for i, (h, w) in enumerate(hw[begin:end].tolist(), begin):
            out[i - begin, :h, :w] = pixels[ends[i] : ends[i + 1]].view(h, w, 3)
        yield slice(begin, end), out
        begin = end


def _canvas_bytes(hw: np.ndarray) -> int:
    return 3 * len(hw) * int(hw.max(axis=0).prod(dtype=np.int64))


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
    box = boxes.to(pixels.device, torch.float32).unbind(1)
    cubic = box[9] > 0
    upright = torch.zeros_like(cubic)
    rows = weights(box[0], box[2], box[4], box[6], upright, cubic, pixels.shape[1], size)  # [N, size, H]
    columns = weights(box[1], box[3], box[5], box[7], box[8] > 0, cubic, pixels.shape[2], size)  # [N, size, W]
    x = pixels.permute(0, 3, 1, 2).to(dtype)  # [N, 3, H, W]
    x = x @ columns.to(dtype).transpose(1, 2)[:, None]  # [N, 3, H, size]
    x = torch.where(_column(cubic), x.round().clamp(0, 255), x)  # PIL rounds and clips here; bicubic overshoots
    x = rows.to(dtype)[:, None] @ x  # [N, 3, size, size]
    return (x.float() + 0.5).clamp_(0, 255.5).permute(0, 2, 3, 1).to(torch.uint8)


def _column(x: Tensor) -> Tensor:
    """[N] -> [N, 1, 1, 1]."""
    return x[:, None, None, None]


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
