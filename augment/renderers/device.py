"""The device renderer: the same draws on whole batches of tensors, without host syncs; for GPUs (on a CPU, host.py is
faster and gives the same values).

Works on floats in 0..1 and does not round to 8 bits between ops as PIL does. Parameters travel as one float32 matrix a
view (`pack`), so one copy moves them; every op runs on the whole batch, with values that change nothing where it is
off.
"""

import math

import numpy as np
import torch
from kornia import color, filters
from torch import Tensor

from ..draw import Draw, max_cells
from ..spec import ColorJitter, GaussianBlur, Grayscale, HideAndSeek, Normalize, Op, Solarize

Rest = tuple[tuple[Op, Draw], ...]

SLOTS = 6  # blends before and after the hue shift, three each


def pack(todo: Rest, samples: int) -> np.ndarray:
    """The parameters of ops and their draws (`crops.rest`), a row a sample: [N, P] float32."""
    columns = [np.zeros((samples, 0)), *(_columns(op, draw) for op, draw in todo if draw)]
    return np.concatenate(columns, axis=1, dtype=np.float32)


def render(ops: tuple[Op, ...], pixels: Tensor, packed: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Cut pixels [N, S, S, 3] uint8, the ops still to do (`crops.on_device`) and their `packed` parameters [N, P] ->
    [N, 3, S, S] `dtype`, channels_last."""
    x = pixels.permute(0, 3, 1, 2).contiguous().float() / 255  # whole planes: most ops mix or weigh colors
    at = 0
    for op in ops:
        end = at + width(op, x.shape[-1])
        x = _apply(op, x, packed[:, at:end])
        at = end
    return x.to(dtype).contiguous(memory_format=torch.channels_last)


def width(op: Op, size: int) -> int:
    """Columns of an op's packed parameters, in a view of `size` px."""
    match op:
        case ColorJitter():
            return 3 * SLOTS + 1
        case GaussianBlur():
            return reach(op) + 1
        case Grayscale() | Solarize():
            return 1
        case HideAndSeek():
            return 1 + max_cells(op, size)
    return 0


def _columns(op: Op, draw: Draw) -> np.ndarray:
    match op:
        case ColorJitter():
            return _turns(draw)
        case GaussianBlur():
            return half_kernels(np.where(draw["on"], draw["sigma"], 0.0), reach(op))
        case HideAndSeek():
            return np.concatenate([draw["grid"][:, None], draw["keep"]], axis=1)
        case _:  # Grayscale, Solarize
            return draw["on"][:, None]


def _apply(op: Op, x: Tensor, p: Tensor) -> Tensor:
    match op:
        case ColorJitter():
            return _jitter(x, p)
        case Grayscale() if _nowhere(p > 0):
            return x
        case GaussianBlur() if _nowhere(p[:, 1:] != 0):
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
            return x * _kept(p[:, 0].long(), p[:, 1:], x.shape[-1])
    raise AssertionError(f"the host executes {op}")


def _nowhere(on: Tensor) -> bool:
    """Whether no image is changed. Only a CPU looks: on a GPU that is a sync, in a compiled graph a break."""
    return on.is_cpu and not torch.compiler.is_compiling() and not bool(on.any())


def _channels(values: tuple[float, ...], like: Tensor) -> Tensor:
    """Constants as [1, C, 1, 1], filled on the device: a tensor made of a list would be a blocking copy to it."""
    return torch.cat([like.new_full((1,), value) for value in values]).view(1, -1, 1, 1)


def _image(p: Tensor) -> Tensor:
    """[N] or [N, 1] -> [N, 1, 1, 1]"""
    return p.reshape(-1, 1, 1, 1)


def _kept(grid: Tensor, keep: Tensor, size: int) -> Tensor:
    """[N] sides of cells (0 = no grid) and [N, cells] -> [N, 1, size, size], 1 where a pixel is not hidden."""
    side = torch.where(grid > 0, grid, size)[:, None]
    cell = torch.arange(size, device=grid.device) // side  # [N, size]
    count = (size + side - 1) // side
    at = (cell * count)[:, :, None] + cell[:, None, :]
    kept = keep.gather(1, at.flatten(1)).view_as(at)
    return torch.where(_image(grid) > 0, kept[:, None], 1.0)


def _turns(draw: Draw) -> np.ndarray:
    """ColorJitter's draw -> [N, 3 * SLOTS + 1]: (factor, share of the mean, share of the luma) a slot, then the hue
    shift.

    Brightness, contrast and saturation all blend the image with something: black, its mean luma, its luma. So four
    turns in a sample's own order are three blends, one hue shift, three blends, where unused slots have factor 1.
    """
    order, n = draw["order"], len(draw["order"])
    slots = np.zeros((n, SLOTS, 3))
    slots[:, :, 0] = 1
    hue_at = (order == 3).argmax(axis=1)
    for turn in range(4):
        kind = order[:, turn]
        rows = (draw["on"] & (kind != 3)).nonzero()[0]
        slot = np.where(turn < hue_at, turn, turn + SLOTS - 4)[rows]  # 0..2 before the hue shift, 3..5 after it
        slots[rows, slot, 0] = draw["factor"][rows, kind[rows]]
        slots[rows, slot, 1] = kind[rows] == 1
        slots[rows, slot, 2] = kind[rows] == 2
    hue = np.where(draw["on"], draw["hue"], 0.0)
    return np.concatenate([slots.reshape(n, -1), hue[:, None]], axis=1)


def _jitter(x: Tensor, p: Tensor) -> Tensor:
    for slot in range(SLOTS):
        if slot == SLOTS // 2:
            x = shift_hue(x, p[:, -1])
        factor, mean, luma = (_image(p[:, 3 * slot + i]) for i in range(3))
        if _nowhere(factor != 1):
            continue
        grey = color.rgb_to_grayscale(x)
        x = torch.lerp(mean * grey.mean((2, 3), keepdim=True) + luma * grey, x, factor).clamp_(0, 1)
    return x


def shift_hue(x: Tensor, turns: Tensor) -> Tensor:
    """HSV's hue moved by `turns` [N]. Within 2e-6 of kornia.enhance.adjust_hue, in a third of its time (CPU, eager)."""
    r, g, b = x.split(1, dim=1)  # [N, 1, H, W]
    high, low = torch.maximum(torch.maximum(r, g), b), torch.minimum(torch.minimum(r, g), b)
    chroma = high - low
    scale = chroma.clamp(min=1e-8)
    red, green = (high == r).to(x.dtype), (high == g).to(x.dtype)  # numbers: a CPU takes 30 additions for a `where`
    hue = torch.lerp(torch.lerp(4 + (r - g) / scale, 2 + (b - r) / scale, green), (g - b) / scale, red)
    sector = hue + 6 * _image(turns) + _channels((5.0, 3.0, 1.0), x)  # [N, 3, H, W]
    sector = sector - 6 * (sector / 6).floor()  # and 15 for a `remainder`
    return high - chroma * torch.minimum(sector, 4 - sector).clamp_(0, 1)


def reach(op: GaussianBlur) -> int:
    """Pixels to each side that the widest kernel of `op` touches: three box filters, each reaching ceil(radius)."""
    return 3 * math.ceil((math.sqrt(4 * op.sigma[1] ** 2 + 1) - 1) / 2)


def half_kernels(sigma: np.ndarray, reach: int) -> np.ndarray:
    """The center and right half of PIL's `GaussianBlur` kernels: [N, reach + 1], sigma 0 = leave as it is.

    PIL uses no Gaussian but three box filters of variance sigma^2 / 3 with fractional ends (Gwosdek et al. 2011).
    """
    variance = sigma**2 / 3
    whole = np.floor((np.sqrt(12 * variance + 1) - 1) / 2)
    part = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance) / (6 * (variance - (whole + 1) ** 2))
    distance = np.abs(np.arange(-reach, reach + 1))[None]  # [1, 2 reach + 1]
    box = np.clip(whole[:, None] + 1 - distance, 0, 1) + (distance == whole[:, None] + 1) * part[:, None]
    spectrum = np.fft.rfft(np.fft.ifftshift(box / box.sum(1, keepdims=True), axes=1), axis=1)
    return np.fft.irfft(spectrum**3, n=2 * reach + 1, axis=1)[:, : reach + 1]
