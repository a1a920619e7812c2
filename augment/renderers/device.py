"""The device renderer: executes drawn parameters on whole batches of tensors, without host syncs. For GPUs; on a CPU
`host` gives the same values faster.

It computes on floats in 0..1 and does not round to 8 bits between ops as PIL does. Every op runs on the whole batch;
where it is off for an image, its parameters (`packing.pack`) change nothing.
"""

import torch
from kornia import color, filters
from torch import Tensor

from ..spec import ColorJitter, GaussianBlur, Grayscale, HideAndSeek, Normalize, Op, Solarize
from .packing import SLOTS, width


def render(ops: tuple[Op, ...], pixels: Tensor, packed: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Cropped pixels [N, S, S, 3] uint8 -> [N, 3, S, S] `dtype`, channels_last, after `ops` (`crops.on_device`) with
    their `packed` parameters [N, P]."""
    x = pixels.permute(0, 3, 1, 2).contiguous().float() / 255  # whole planes: most ops mix or weigh colors
    at = 0
    for op in ops:
        end = at + width(op, x.shape[-1])
        x = _apply(op, x, packed[:, at:end])
        at = end
    return x.to(dtype).contiguous(memory_format=torch.channels_last)


def _apply(op: Op, x: Tensor, p: Tensor) -> Tensor:
    match op:
        case ColorJitter():
            return _jitter(x, p)
        case Grayscale() if _is_off(p > 0):
            return x
        case GaussianBlur() if _is_off(p[:, 1:] != 0):
            return x
        case Grayscale():
            return torch.lerp(x, color.rgb_to_grayscale(x), _image(p))
        case GaussianBlur():
            kernels = torch.cat([p.flip(1)[:, :-1], p], dim=1)  # [N, 2 reach + 1]
            return filters.filter2d_separable(x, kernels, kernels, border_type="replicate")
        case Solarize():
            return torch.where((x >= op.threshold / 255) & (_image(p) > 0), 1 - x, x)
        case Normalize():
            mean, std = (_channels(v, x) for v in (op.mean, op.std))
            return (x - mean) / std
        case HideAndSeek():
            return x * kept(p[:, 0].long(), p[:, 1:], x.shape[-1])
    raise AssertionError(f"the host executes {op}")


def _is_off(on: Tensor) -> bool:
    """Whether the op changes no image. Known on a CPU only: a GPU would need a sync, a compiled graph would break."""
    return on.is_cpu and not torch.compiler.is_compiling() and not bool(on.any())


def _channels(values: tuple[float, ...], like: Tensor) -> Tensor:
    """Constants as [1, C, 1, 1], filled on the device: a tensor made from a list needs a blocking copy."""
    return torch.cat([like.new_full((1,), value) for value in values]).view(1, -1, 1, 1)


def _image(p: Tensor) -> Tensor:
    """[N] or [N, 1] -> [N, 1, 1, 1]."""
    return p.reshape(-1, 1, 1, 1)


def kept(grid: Tensor, keep: Tensor, size: int) -> Tensor:
    """Sides of cells [N] px (0: no grid) and kept cells [N, cells] -> [N, 1, size, size], 1 where a pixel is kept."""
    side = torch.where(grid > 0, grid, size)[:, None]
    cell = torch.arange(size, device=grid.device) // side  # [N, size]
    count = (size + side - 1) // side
    at = (cell * count)[:, :, None] + cell[:, None, :]
    kept = keep.gather(1, at.flatten(1)).view_as(at)
    return torch.where(_image(grid) > 0, kept[:, None], 1.0)


def _jitter(x: Tensor, p: Tensor) -> Tensor:
    """Blends and the hue shift by `p` [N, 3 * SLOTS + 1] of `packing`."""
    for slot in range(SLOTS):
        if slot == SLOTS // 2:
            x = shift_hue(x, p[:, -1])
        factor, mean, luma = (_image(p[:, 3 * slot + i]) for i in range(3))
        if _is_off(factor != 1):
            continue
        gray = color.rgb_to_grayscale(x)
        x = torch.lerp(mean * gray.mean((2, 3), keepdim=True) + luma * gray, x, factor).clamp_(0, 1)
    return x


def shift_hue(x: Tensor, turns: Tensor) -> Tensor:
    """Shift HSV hue by `turns` [N]. Within 2e-6 of kornia.enhance.adjust_hue, in a third of its time (CPU, eager)."""
    r, g, b = x.split(1, dim=1)  # [N, 1, H, W]
    high, low = torch.maximum(torch.maximum(r, g), b), torch.minimum(torch.minimum(r, g), b)
    chroma = high - low
    scale = chroma.clamp(min=1e-8)
    red, green = (high == r).to(x.dtype), (high == g).to(x.dtype)  # on the CPU `where` costs as much as 30 additions
    hue = torch.lerp(torch.lerp(4 + (r - g) / scale, 2 + (b - r) / scale, green), (g - b) / scale, red)
    sector = hue + 6 * _image(turns) + _channels((5.0, 3.0, 1.0), x)  # [N, 3, H, W]
    sector = sector - 6 * (sector / 6).floor()  # `remainder` costs as much as 15 additions
    return high - chroma * torch.minimum(sector, 4 - sector).clamp_(0, 1)
