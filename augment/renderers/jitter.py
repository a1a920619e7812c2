"""Color jitter on planes: blends and the hue shift of the device renderer, for a compiler as well as without one."""

import torch
from torch import Tensor

from .packing import SLOTS

HUE_AT = SLOTS // 2  # the slot that the hue shift precedes
Planes = list[Tensor]  # red, green and blue, each [N, S, S]


def is_off(on: Tensor) -> bool:
    """Whether the op changes no image. Known on a CPU only: a GPU would need a sync, a compiled graph would break."""
    return not torch.compiler.is_compiling() and on.is_cpu and not bool(on.any())


def image(p: Tensor) -> Tensor:
    """[N] or [N, 1] -> [N, 1, 1]."""
    return p.reshape(-1, 1, 1)


def luma_of(x: Planes) -> Tensor:
    """The gray of colors, [N, S, S]."""
    red, green, blue = x
    return (red * 0.299).add(green, alpha=0.587).add(blue, alpha=0.114)


def jitter(x: Planes, p: Tensor) -> Planes:
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
    return _blends(x, p, factor, of_mean * luma_of(before).mean((1, 2))[:, None])


def _blends(x: Planes, p: Tensor, factor: Tensor, means: Tensor | None = None, turned: Tensor | None = None) -> Planes:
    """Blend by `factor` with a share of the luma and with `means`, [N, SLOTS] each; before slot HUE_AT shift the hue of
    images `turned` [N]. Without these: the means at each slot, and all images."""
    for slot in range(SLOTS):
        if slot == HUE_AT:
            hued = shift_hue(x, p[:, -1])
            x = hued if turned is None else [torch.where(image(turned), *both) for both in zip(hued, x, strict=True)]
        if is_off(factor[:, slot] != 1):
            continue
        luma = luma_of(x)
        mean = p[:, 3 * slot + 1] * luma.mean((1, 2)) if means is None else means[:, slot]
        to = image(mean) + image(p[:, 3 * slot + 2]) * luma
        x = [torch.lerp(to, plane, image(factor[:, slot])).clamp_(0, 1) for plane in x]
    return x


def shift_hue(x: Planes, turns: Tensor) -> Planes:
    """Shift HSV hue by `turns` [N]. Within 2e-6 of kornia.enhance.adjust_hue, in a third of its time (CPU, eager)."""
    r, g, b = x
    high, low = torch.maximum(torch.maximum(r, g), b), torch.minimum(torch.minimum(r, g), b)
    chroma = high - low
    scale = chroma.clamp(min=1e-8)
    red, green = (high == r).to(r.dtype), (high == g).to(r.dtype)  # on the CPU `where` costs as much as 30 additions
    hue = torch.lerp(torch.lerp(4 + (r - g) / scale, 2 + (b - r) / scale, green), (g - b) / scale, red)
    hue = hue + 6 * image(turns)
    return [_wave(high, chroma, hue + place) for place in (5.0, 3.0, 1.0)]


def _wave(high: Tensor, chroma: Tensor, sector: Tensor) -> Tensor:
    sector = sector - 6 * (sector / 6).floor()  # `remainder` costs as much as 15 additions
    return high - chroma * torch.minimum(sector, 4 - sector).clamp_(0, 1)
