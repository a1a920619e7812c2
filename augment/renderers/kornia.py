"""The kornia renderer: the same draws through kornia's own augmentations (0.9), on a CPU or a GPU, without host syncs.

It computes on floats in 0..1 like the device renderer, and differs from it in three places:

* kornia's blur is a Gaussian, PIL's are three box filters. It gets the drawn sigma and as many taps as PIL reaches.
* kornia's ColorJitter has one order for a whole batch. Here an order is drawn per image, so each slot of `packing` is
  one ColorJitter whose factors leave the images alone that have another step there. That makes it slow.
* kornia has no hide-and-seek (its RandomErasing erases one box): that op is taken from the device renderer.

`RandomGaussianBlur` reads sigma back to check it, so the blur calls kornia's two functions below it instead.
"""

from functools import cache

import torch
from kornia import augmentation as K
from kornia import filters
from torch import Tensor

from ..spec import ColorJitter, GaussianBlur, Grayscale, HideAndSeek, Normalize, Op, Solarize
from .device import kept
from .packing import SLOTS, reach, width

ALWAYS = torch.ones(1)  # for augmentations that apply to every image


def render(ops: tuple[Op, ...], pixels: Tensor, packed: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """[N, S, S, 3] uint8 -> [N, 3, S, S] `dtype`, channels_last, as `device.render`; in float32 under autocast too."""
    with torch.autocast(pixels.device.type, enabled=False):
        x = pixels.permute(0, 3, 1, 2).contiguous().float() / 255
        at = 0
        for op in ops:
            end = at + width(op, x.shape[-1])
            x = _apply(op, x, packed[:, at:end])
            at = end
    return x.to(dtype).contiguous(memory_format=torch.channels_last)


def _apply(op: Op, x: Tensor, p: Tensor) -> Tensor:
    match op:
        case ColorJitter():
            return _jitter(op, x, p)
        case Grayscale():
            return _gray()(x, params={"batch_prob": p[:, 0]})
        case GaussianBlur():
            return _blur(x, p, reach(op))
        case Solarize():
            thresholds = torch.full_like(p[:, 0], op.threshold / 255)
            return _solarize()(x, params={"batch_prob": p[:, 0], "thresholds": thresholds})
        case Normalize():
            mean, std = (torch.cat([x.new_full((1,), value) for value in values]) for values in (op.mean, op.std))
            return K.Normalize(mean, std)(x, params={"batch_prob": ALWAYS})
        case HideAndSeek():
            return x * kept(p[:, 0].long(), p[:, 1:], x.shape[-1])[:, None]
    raise AssertionError(f"the host executes {op}")


@cache
def _gray() -> K.RandomGrayscale:
    return K.RandomGrayscale(p=0.5)  # any p below 1 applies where `batch_prob` is 1


@cache
def _solarize() -> K.RandomSolarize:
    return K.RandomSolarize(p=0.5)


@cache
def _steps(order: tuple[int, ...]) -> K.ColorJitter:
    """kornia's jitter in a fixed order of brightness, contrast, saturation and hue, which runs without branches."""
    return K.ColorJitter(order=order)


def _jitter(op: ColorJitter, x: Tensor, p: Tensor) -> Tensor:
    """Jitter by `p` [N, 3 * SLOTS + 1] of `packing`: three slots, the hue shift, three slots."""
    one, none, hue = torch.ones_like(p[:, 0]), torch.zeros_like(p[:, 0]), p[:, -1]
    names = ("brightness_factor", "contrast_factor", "saturation_factor")
    used = tuple(kind for kind, strength in enumerate((op.brightness, op.contrast, op.saturation)) if strength)
    for slot in range(SLOTS):
        if slot == SLOTS // 2 and op.hue:
            x = _steps((3,))(x, params={**dict.fromkeys(names, one), "hue_factor": hue, "batch_prob": ALWAYS})
        factor, mean, luma = p[:, 3 * slot : 3 * slot + 3].unbind(1)
        here = (mean + luma == 0, mean > 0, luma > 0)  # which of the three steps each image takes in this slot
        factors = {name: torch.where(is_here, factor, one) for name, is_here in zip(names, here, strict=True)}
        x = _steps(used)(x, params={**factors, "hue_factor": none, "batch_prob": ALWAYS})
    return x


def _blur(x: Tensor, halves: Tensor, reach: int) -> Tensor:
    """Gaussian blur by the sigma of each half kernel [N, reach + 1] of `packing`, which PIL's kernels have exactly."""
    distance = torch.arange(reach + 1, device=x.device, dtype=x.dtype)
    sigma = (2 * (halves * distance**2).sum(1, keepdim=True)).clamp(min=0).sqrt()  # 0 px: no blur, one tap of 1
    kernels = filters.get_gaussian_kernel1d(2 * reach + 1, sigma)
    return filters.filter2d_separable(x, kernels, kernels, border_type="replicate")
