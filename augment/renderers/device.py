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
from .packing import SLOTS, width

HUE_AT = SLOTS // 2  # the slot that the hue shift precedes
Planes = list[Tensor]  # red, green and blue, each [N, S, S]


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
        return _jitter(x, p)
    if isinstance(op, Grayscale):
        return x if _is_off(p > 0) else _gray(x, p)
    if isinstance(op, GaussianBlur):
        return x if _is_off(p[:, 1:] != 0) else _blur(x, p)
    if isinstance(op, Solarize):
        on = _image(p) > 0
        return [torch.where((plane >= op.threshold / 255) & on, 1 - plane, plane) for plane in x]
    if isinstance(op, Normalize):
        return [(plane - mean) / std for plane, mean, std in zip(x, op.mean, op.std, strict=True)]
    if isinstance(op, HideAndSeek):
        mask = kept(p[:, 0].long(), p[:, 1:], x[0].shape[1])
        return [plane * mask for plane in x]
    raise AssertionError(f"the host executes {op}")


def _is_off(on: Tensor) -> bool:
    """Whether the op changes no image. Known on a CPU only: a GPU would need a sync, a compiled graph would break."""
    return not torch.compiler.is_compiling() and on.is_cpu and not bool(on.any())


def _image(p: Tensor) -> Tensor:
    """[N] or [N, 1] -> [N, 1, 1]."""
    return p.reshape(-1, 1, 1)


def _luma(x: Planes) -> Tensor:
    red, green, blue = x
    return (red * 0.299).add(green, alpha=0.587).add(blue, alpha=0.114)


def _gray(x: Planes, p: Tensor) -> Planes:
    luma = _luma(x)
    return [torch.lerp(plane, luma, _image(p)) for plane in x]


def kept(grid: Tensor, keep: Tensor, size: int) -> Tensor:
    """Sides of cells [N] px (0: no grid) and kept cells [N, cells] -> [N, size, size], 1 where a pixel is kept."""
    side = torch.where(grid > 0, grid, size)[:, None]
    cell = torch.arange(size, device=grid.device) // side  # [N, size]
    count = (size + side - 1) // side
    at = (cell * count)[:, :, None] + cell[:, None, :]
    kept = keep.gather(1, at.flatten(1)).view_as(at)
    return torch.where(_image(grid) > 0, kept, 1.0)


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
    out = _image(p[:, 0]) * x
    for k in range(1, p.shape[1]):
        pair = x.index_select(axis, (at - k).clamp(min=0)) + x.index_select(axis, (at + k).clamp(max=last))
        out = out + _image(p[:, k]) * pair
    return out


def _jitter(x: Planes, p: Tensor) -> Planes:
    """Blends and the hue shift by `p` [N, 3 * SLOTS + 1] of `packing`.

    An image has at most one contrast, the blend that needs its mean. A compiler would stop at every slot to sum, so for
    it a first chain of blends, up to the contrast, finds the mean; without one, sums cost less than that chain.
    """
    factor, of_mean, _ = p[:, :-1].unflatten(1, (SLOTS, 3)).unbind(2)  # [N, SLOTS] each
    if not torch.compiler.is_compiling():
        return _blends(x, p, factor)
    earlier = torch.stack([of_mean[:, : slot + 1].sum(1) == 0 for slot in range(SLOTS)], 1)  # than the contrast
    first = torch.where(earlier, factor, 1.0)
    before = _blends(x, p, first, torch.zeros_like(factor), earlier[:, HUE_AT - 1])
    return _blends(x, p, factor, of_mean * _luma(before).mean((1, 2))[:, None])


def _blends(x: Planes, p: Tensor, factor: Tensor, means: Tensor | None = None, turned: Tensor | None = None) -> Planes:
    """Blend by `factor` with a share of the luma and with `means`, [N, SLOTS] each; before slot HUE_AT shift the hue of
    images `turned` [N]. Without these: the means at each slot, and all images."""
    for slot in range(SLOTS):
        if slot == HUE_AT:
            hued = shift_hue(x, p[:, -1])
            x = hued if turned is None else [torch.where(_image(turned), *both) for both in zip(hued, x, strict=True)]
        if _is_off(factor[:, slot] != 1):
            continue
        luma = _luma(x)
        mean = p[:, 3 * slot + 1] * luma.mean((1, 2)) if means is None else means[:, slot]
        to = _image(mean) + _image(p[:, 3 * slot + 2]) * luma
        x = [torch.lerp(to, plane, _image(factor[:, slot])).clamp_(0, 1) for plane in x]
    return x


def shift_hue(x: Planes, turns: Tensor) -> Planes:
    """Shift HSV hue by `turns` [N]. Within 2e-6 of kornia.enhance.adjust_hue, in a third of its time (CPU, eager)."""
    r, g, b = x
    high, low = torch.maximum(torch.maximum(r, g), b), torch.minimum(torch.minimum(r, g), b)
    chroma = high - low
    scale = chroma.clamp(min=1e-8)
    red, green = (high == r).to(r.dtype), (high == g).to(r.dtype)  # on the CPU `where` costs as much as 30 additions
    hue = torch.lerp(torch.lerp(4 + (r - g) / scale, 2 + (b - r) / scale, green), (g - b) / scale, red)
    hue = hue + 6 * _image(turns)
    return [_wave(high, chroma, hue + place) for place in (5.0, 3.0, 1.0)]


def _wave(high: Tensor, chroma: Tensor, sector: Tensor) -> Tensor:
    sector = sector - 6 * (sector / 6).floor()  # `remainder` costs as much as 15 additions
    return high - chroma * torch.minimum(sector, 4 - sector).clamp_(0, 1)
