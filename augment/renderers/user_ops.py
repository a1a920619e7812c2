"""Ops of the user's own: they run last in a view, on the device, with random numbers keyed per image.

    @dataclass(frozen=True)
    class Noise:
        sigma: float

        def __call__(self, x: Tensor, keyed: KeyedGenerator) -> Tensor:
            return x + self.sigma * keyed.normal(*x.shape[1:])

    view = (RandomResizedCrop(224), Normalize(), Noise(0.1))

`x` [N, 3, S, S] is normalized. An op that treats each image on its own gives it the same pixels in any batch.
"""

import math

import torch
from torch import Tensor

from ...shards.errors import UserError
from ..spec import View, user_ops
from .keyed import fold, shift_right

BITS = 24  # per number, so that float32 holds it exactly


def apply_user_ops(view: View, x: Tensor, keys: Tensor) -> Tensor:
    """`x` [N, 3, S, S] float, normalized, after the user's ops of `view`: same shape and dtype, channels_last.

    `keys`: `draw.user_keys` of the batch, [N] int64, on the CPU or the device of `x`. Autocast does not reach the ops.
    UserError for an op that changes the shape.
    """
    shape, dtype = x.shape, x.dtype
    ops = user_ops(view)
    for place, op in enumerate(ops):
        with torch.autocast(x.device.type, enabled=False):
            x = op(x, KeyedGenerator(fold(keys, place), x.device))
        if not isinstance(x, Tensor) or x.shape != shape:
            found = list(x.shape) if isinstance(x, Tensor) else x
            raise UserError(f"{op} returned {found} for views {list(shape)}: return a tensor of the same shape")
    return x.to(dtype).contiguous(memory_format=torch.channels_last) if ops else x


class KeyedGenerator:
    """Random numbers for one op on one batch of N images, made on the device of the images or on another one.

    A number is the hash of (seed, epoch, view number, uid of the image, place of the op among the user's ops, count of
    the numbers that the op took for the image before). So batch size, order, rank and device do not change it.
    """

    def __init__(self, keys: Tensor, device: torch.device | None = None):
        """`keys` [N] int64: one per image, for this op. `device`: where numbers are made if a call names none."""
        self._keys, self._device, self._used = {keys.device.type: keys}, device or keys.device, 0

    def uniform(self, *shape: int, device: torch.device | None = None) -> Tensor:
        """[N, *shape] float32, uniform in [0, 1), with equal bits on every `device`."""
        return _fraction(self._hashes(shape, device), 64 - BITS)

    def normal(self, *shape: int, device: torch.device | None = None) -> Tensor:
        """[N, *shape] float32, normal with mean 0 and variance 1, within +-5.8 (Box-Muller).

        Devices may differ in the last bits: each rounds logarithm and cosine in its own way.
        """
        hashes = self._hashes(shape, device)
        radius = (-2 * (_fraction(hashes, 64 - BITS) + 2.0**-BITS).log()).sqrt()  # the log of a number in (0, 1]
        return radius * (2 * math.pi * _fraction(hashes, 64 - 2 * BITS)).cos()

    def _hashes(self, shape: tuple[int, ...], device: torch.device | None) -> Tensor:
        """The next numbers of each image: [N, *shape] int64."""
        keys = self._keys_on(device or self._device)
        begin, self._used = self._used, self._used + math.prod(shape)
        words = torch.arange(begin, self._used, device=keys.device)
        return fold(keys[:, None], words).view(len(keys), *shape)

    def _keys_on(self, device: torch.device) -> Tensor:
        """The keys on `device`. A copy to a GPU does not wait for it, one from a GPU does."""
        if device.type not in self._keys:
            (keys,) = self._keys.values()
            self._keys[device.type] = (
                keys.pin_memory().to(device, non_blocking=True) if keys.is_cpu else keys.to(device)
            )
        return self._keys[device.type]


def _fraction(hashes: Tensor, shift: int) -> Tensor:
    """The BITS bits above the lowest `shift`, as a float32 in [0, 1)."""
    return (shift_right(hashes, shift) & (2**BITS - 1)).float() * 2.0**-BITS
