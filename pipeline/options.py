"""How a loader works; none of it changes the order of samples or their draws."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Literal, get_args

import torch
from torch import Tensor

from ..augment.renderers import compiler
from ..shards.errors import UserError, choose
from .workers import share_of_cores

FEW_CORES = 12  # per process on a GPU: with fewer, `auto` leaves the crops to the GPU
Crops = Literal["auto", "host", "device"]
Decode = Literal["cpu", "gpu", "planes"]
Renderer = Literal["auto", "host", "device", "kornia"]
Check = Literal["decode", "digest"]


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
    `decode` "gpu" leaves decoding to nvJPEG and the crops to the device; pixels are those of that decoder (nvjpeg.py).
    "planes" leaves interpolating and converting colors to the crops of the host; pixels then differ from those of "cpu"
    by 0.3 levels on average.
    DALI always decodes and crops by itself; with `hw_decoder_load`, an option for DALI on a GPU, an image may get its
    pixels from either of two decoders. `renderer` says what renders after the crop, from the same draws: `host` (on a
    CPU only), `device`, or `kornia`, which blurs differently (docs/parity.md). `compile` says whether torch.compile
    joins the ops of a GPU's crops and views to few kernels: auto, where it works; a CPU has nothing to compile. `skip`
    replaces a damaged sample by another one, the same through every reader, and adds it to the loader's `skipped`; a
    plan with the tail `exact` never replaces. `check` "digest" also compares each JPEG with its digest when this
    process reads it for the first time, since a decoder shows most flipped bits as other pixels.
    """

    device: torch.device | str = "cpu"  # where the views are rendered
    dtype: torch.dtype = torch.float32  # of the views
    threads: int = 0  # that read and decode, or render on the host; 0: measured in the first seconds, else one per core
    crops: Crops = "auto"
    decode: Decode = "cpu"  # who decodes JPEGs
    hw_decoder_load: float = 0.0  # share of a batch that an A100's or H100's JPEG engine decodes, 1: all it can
    renderer: Renderer = "auto"  # auto: host on a CPU, device on a GPU
    compile: compiler.Choice = "auto"
    skip: bool = False
    check: Check = "decode"  # what finds damage

    def __post_init__(self) -> None:
        choose("check", self.check, get_args(Check))
        if self.decode == "gpu" and self.crops == "host":
            raise UserError(
                "--decode gpu leaves images on the GPU, where --crops host cannot crop: leave out one of them"
            )
        if self.decode == "planes" and self.crops == "device":
            raise UserError(
                "--decode planes leaves colors to the crops of the host, and --crops device leaves the crops to the "
                "device: leave out one of them"
            )
        if not 0 <= self.hw_decoder_load <= 1:
            raise UserError(f"--hw-decoder-load {self.hw_decoder_load:g} is no share of a batch: give 0 to 1")
        if self.hw_decoder_load and torch.device(self.device).type != "cuda":
            raise UserError(
                "--hw-decoder-load is the share of a GPU's JPEG engine, and DALI would decode on the CPU here: leave "
                "it out"
            )

    @property
    def crop_on_device(self) -> bool:
        """Whether the device crops."""
        if self.decode != "cpu":
            return self.decode == "gpu"
        if self.crops == "auto":
            return torch.device(self.device).type == "cuda" and share_of_cores() < FEW_CORES
        return self.crops == "device"

    @property
    def compares(self) -> bool:
        """Whether tasks compare digests; those that read for a GPU's decoder always do (`JpegCheck`)."""
        return self.check == "digest" and self.decode != "gpu"

    @property
    def compiled(self) -> bool:
        """Whether the device's crops and ops are compiled. UserError for `on` where torch.compile does not work."""
        where = torch.device(self.device)
        return where.type == "cuda" and compiler.wanted(self.compile, where)

    @property
    def render_on_host(self) -> bool:
        """Whether the host renders."""
        on_host = torch.device(self.device).type == "cpu"
        return self.renderer == "host" or (self.renderer == "auto" and on_host)

    def render(self, full: int) -> Callable[..., Tensor]:
        """What renders cropped views, in batches of `full` samples. UserError for a renderer that is unknown, or does
        not work on the device."""
        name, on_host = choose("renderer", self.renderer, get_args(Renderer)), torch.device(self.device).type == "cpu"
        if name == "auto":
            name = "host" if self.render_on_host else "device"
        if name == "host" and not on_host:
            raise UserError(
                f"--renderer host computes on the CPU, but the views are rendered on {self.device}: choose device, "
                f"kornia or auto"
            )
        module = import_module(f"..augment.renderers.{name}", __package__)  # each brings packages of its own
        if name == "host":
            return module.threaded(self.threads or share_of_cores())
        return module.compiled(full) if name == "device" and self.compiled else module.render


DEFAULTS = LoaderOptions()
