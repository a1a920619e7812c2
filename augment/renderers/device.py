"""The device renderer: executes drawn parameters on whole batches of tensors, without host syncs. For GPUs; on a CPU
`host` gives the same values faster.

It computes on floats in 0..1 and does not round to 8 bits between ops as PIL does. Every op runs on the whole batch;
where it is off for an image, its parameters (`packing.pack`) change nothing. Red, green and blue are tensors of their
own, so that a compiler joins the ops between two reads of neighbors (mean, blur) to one pass over memory.
"""

from collections.abc import Callable
from functools import cache

import torch
from kornia.filters import filter2d_separable
from torch import Tensor

from ..spec import ColorJitter, GaussianBlur, Grayscale, HideAndSeek, Normalize, Op, Solarize
from . import compiler
from .jitter import Planes, image, is_off, jitter, luma_of
from .packing import width


def render(ops: tuple[Op, ...], pixels: Tensor, packed: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Cropped pixels [N, S, S, 3] uint8 -> [N, 3, S, S] `dtype`, channels_last, after `ops` (`crops.on_device`) with
    their `packed` parameters [N, P]. Autocast does not reach it: it computes in float32."""
    with torch.autocast(pixels.device.type, enabled=False):
        x = [plane.float() / 255 for plane in pixels.unbind(3)]
        at = 0
        for op in ops:
            end = at + width(op, pixels.shape[1])
            x = _apply(op, x, packed[:, at:end])
            at = end
        return torch.stack([plane.to(dtype) for plane in x], 3).permute(0, 3, 1, 2)


def compiled(full: int) -> Callable[..., Tensor]:
    """`render`, compiled for batches of `full` samples. A smaller one, the last of an epoch, would have to be compiled
    again: it is rendered by `render`."""

    def either(ops: tuple[Op, ...], pixels: Tensor, packed: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        if len(pixels) != full:
            return render(ops, pixels, packed, dtype)
        return _compiled(ops, pixels.shape, dtype)(ops, pixels, packed, dtype)

    return either


@cache
def _compiled(ops: tuple[Op, ...], shape: torch.Size, dtype: torch.dtype) -> Callable[..., Tensor]:
    """`render` for one view and shape, which all loaders share."""
    return compiler.compiled(render, dynamic=False)


def _apply(op: Op, x: Planes, p: Tensor) -> Planes:
    # No `match`: torch.compile traces the classes of its cases only from torch 2.12 on.
    if isinstance(op, ColorJitter):
        return jitter(x, p)
    if isinstance(op, Grayscale):
        return x if is_off(p > 0) else _gray(x, p)
    if isinstance(op, GaussianBlur):
        return x if is_off(p[:, 1:] != 0) else _blur(x, p)
    if isinstance(op, Solarize):
        on = image(p) > 0
        return [torch.where((plane >= op.threshold / 255) & on, 1 - plane, plane) for plane in x]
    if isinstance(op, Normalize):
        return [(plane - mean) / std for plane, mean, std in zip(x, op.mean, op.std, strict=True)]
    if isinstance(op, HideAndSeek):
        mask = kept(p[:, 0].long(), p[:, 1:], x[0].shape[1])
        return [plane * mask for plane in x]
    raise AssertionError(f"the host executes {op}")


def _gray(x: Planes, p: Tensor) -> Planes:
    luma = luma_of(x)
    return [torch.lerp(plane, luma, image(p)) for plane in x]


def kept(grid: Tensor, keep: Tensor, size: int) -> Tensor:
    """Sides of cells [N] px (0: no grid) and kept cells [N, cells] -> [N, size, size], 1 where a pixel is kept."""
    side = torch.where(grid > 0, grid, size)[:, None]
    cell = torch.arange(size, device=grid.device) // side  # [N, size]
    count = (size + side - 1) // side
    at = (cell * count)[:, :, None] + cell[:, None, :]
    kept = keep.gather(1, at.flatten(1)).view_as(at)
    return torch.where(image(grid) > 0, kept, 1.0)


def _blur(x: Planes, p: Tensor) -> Planes:
    """Blur by half kernels `p` [N, reach + 1]; pixels past the border repeat it.

    A compiler joins all taps along an axis to one pass over memory; without one, a convolution launches least.
    """
    if not torch.compiler.is_compiling():
        kernels = torch.cat([p.flip(1)[:, :-1], p], dim=1)  # [N, 2 reach + 1]
        return list(filter2d_separable(torch.stack(x, 1), kernels, kernels, border_type="replicate").unbind(1))
    return [_taps(_taps(plane, p, 2), p, 1) for plane in x]


def _taps(x: Tensor, p: Tensor, axis: int) -> Tensor:
    """`x` [N, S, S] blurred along one axis."""
    at, last = torch.arange(x.shape[axis], device=x.device), x.shape[axis] - 1
    out = image(p[:, 0]) * x
    for k in range(1, p.shape[1]):
        pair = x.index_select(axis, (at - k).clamp(min=0)) + x.index_select(axis, (at + k).clamp(max=last))
        out = out + image(p[:, k]) * pair
    return out
