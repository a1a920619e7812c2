"""Augmentations of kornia as ops of the user's own, with random numbers keyed per image.

    view = (*moco_v2(224)[0], Kornia(K.RandomErasing(p=0.5)))

kornia takes no generator: its modules draw from torch's global ones. So each call that draws is intercepted (torch tags
them) and gets keyed numbers, in the order of the calls, on the device that the module asks for: parameters on the CPU,
from where kornia copies them without a wait. A module that draws whole images, as RandomGaussianNoise does, asks on a
GPU once it is moved there, `.to("cuda")`. RandomThinPlateSpline makes the host wait for a GPU: it solves a system.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ...shards.errors import UserError
from .user_ops import KeyedGenerator

UNIFORM, NORMAL = torch.ops.aten.rand.default, torch.ops.aten.randn.default


@dataclass(frozen=True)
class Kornia:
    """A module of kornia, or a container of several, as the last op of a view: an image gets the same result in any
    batch, order and rank.

    It computes in float32 on normalized values; for one that clips to 0..1, put kornia's `Denormalize` and `Normalize`
    around it in an `ImageSequential`. Modules that kornia prints alike are equal. UserError for a module that draws for
    a whole batch instead of each image: an order, a choice of modules, or a mix of images.
    """

    module: nn.Module = field(compare=False)
    text: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", " ".join(repr(self.module).split()))
        if not isinstance(self.module, nn.Module):
            raise UserError(f"Kornia({self.text}) wraps no module: give it an object, as in Kornia(K.RandomErasing())")

    def __repr__(self) -> str:
        return f"Kornia({self.text})"

    def __call__(self, x: Tensor, keyed: KeyedGenerator) -> Tensor:
        if not len(x):
            return x  # some modules refuse an empty batch
        with torch.autocast(x.device.type, enabled=False), _Keyed(keyed, len(x), self.text):
            y = self.module(x.float())
        return y.to(x.dtype) if isinstance(y, Tensor) else y


class _Keyed(TorchDispatchMode):
    """Gives each call that draws a row of numbers per image from `keyed`."""

    def __init__(self, keyed: KeyedGenerator, samples: int, owner: str):
        super().__init__()
        self.keyed, self.samples, self.owner = keyed, samples, owner

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **kwargs)
        if func not in (UNIFORM, NORMAL) or not args[0] or args[0][0] != self.samples:
            raise UserError(
                f"{self.owner} draws by {func} for a whole batch, so an image would depend on the others: take a "
                f"module that draws a row of torch.rand or torch.randn per image, as most of kornia do"
            )
        draw = self.keyed.uniform if func is UNIFORM else self.keyed.normal
        return draw(*args[0][1:], device=kwargs.get("device")).to(kwargs.get("dtype") or torch.float32)
