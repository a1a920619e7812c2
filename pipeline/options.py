"""How a loader works; none of it changes the order of samples or their draws."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..augment.renderers import compiler, device, host
from ..shards.errors import UserError
from .workers import share_of_cores

FEW_CORES = 12  # per process on a GPU: with fewer, `auto` leaves the crops to the GPU
Crops = Literal["auto", "host", "device"]


def usable(device: torch.device | str) -> torch.device:
    """The device of this name. UserError for a GPU that torch does not find."""
    wanted = torch.device(device)
    if wanted.type == "cuda" and (wanted.index or 0) >= (count := torch.cuda.device_count()):
        raise UserError(f"there is no device {wanted}, torch finds {count} GPUs: choose cpu, or a torch built for them")
    return wanted


@dataclass(frozen=True, kw_only=True)
class LoaderOptions:
    """The options of `ViewLoader` and `DaliLoader`; `open_loader` takes them as keywords.

    `crops` says who crops: `device` relieves a host with few cores, its pixels are within 1 level of those of `host`.
    DALI always crops by itself. `compile` says whether torch.compile joins the ops of a GPU's crops and views to few
    kernels: auto, where it works; on a CPU there is nothing to compile. `skip` replaces a damaged sample by another
    one, the same through every reader, and adds it to the loader's `skipped`; a plan with the tail `exact` never
    replaces.
    """

    device: torch.device | str = "cpu"  # where the views are rendered
    dtype: torch.dtype = torch.float32  # of the views
    threads: int = 0  # that read and decode; 0: measured in the first seconds, for DALI one per core
    crops: Crops = "auto"
    compile: compiler.Choice = "auto"
    skip: bool = False

    @property
    def crop_on_device(self) -> bool:
        """Whether the device crops."""
        if self.crops == "auto":
            return torch.device(self.device).type == "cuda" and share_of_cores() < FEW_CORES
        return self.crops == "device"

    @property
    def compiled(self) -> bool:
        """Whether the device's crops and ops are compiled. UserError for `on` where torch.compile does not work."""
        where = torch.device(self.device)
        return where.type == "cuda" and compiler.wanted(self.compile, where)

    def render(self, full: int) -> Callable[..., Tensor]:
        """What renders cropped views, in batches of `full` samples."""
        if torch.device(self.device).type == "cpu":
            return host.render
        return device.compiled(full) if self.compiled else device.render


DEFAULTS = LoaderOptions()
