"""What the DALI renderer (`renderers.dali`) runs: who does which op, the graph of operators, what is fed to it."""

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import simplejpeg

from ...shards.errors import UserError
from ..crops import crop_params
from ..draw import Draw, Draws
from ..spec import (
    ColorJitter,
    GaussianBlur,
    Grayscale,
    HideAndSeek,
    HorizontalFlip,
    Normalize,
    Op,
    RandomResizedCrop,
    ResizeCenterCrop,
    Solarize,
    View,
    Views,
)
from .device import half_kernels, reach

Node = Any  # nvidia.dali.data_node.DataNode: a batch that is to come, while the graph is drawn
Feed = np.ndarray | list[np.ndarray]

LUMA = (0.299, 0.587, 0.114)
LEAST = 1e-6  # what a blur kernel's tail may lose


class Unfit(UserError):
    """A sample that cannot be rendered, by its `place` in the batch, and `why`, for those who know its name."""

    def __init__(self, place: int, why: str, message: str):
        super().__init__(f"sample {place} of the batch is {message}")
        self.place, self.why = place, why


def split(view: View) -> tuple[tuple[Op, ...], tuple[Op, ...]]:
    """(what DALI does, what is left to the device renderer), each in the view's order."""
    kinds = [type(op) for op in view]
    until = kinds.index(ColorJitter) if ColorJitter in kinds else len(view)
    if HideAndSeek in kinds:
        until = min(until, kinds.index(Normalize))
    ours = tuple(op for at, op in enumerate(view) if at < until or isinstance(op, HorizontalFlip))
    return ours, tuple(op for op in view if op not in ours)


def feeds(views: Views, jpegs: Sequence[bytes], hw: np.ndarray, draws: Sequence[Draws]) -> dict[str, Feed]:
    """Name of an input -> a row a sample."""
    out: dict[str, Feed] = {"jpeg": [np.frombuffer(jpeg, np.uint8) for jpeg in jpegs]}
    for number, (view, drawn) in enumerate(zip(views, draws, strict=True)):
        out[f"crop{number}"] = crop_params(view, drawn, hw)
        ours = split(view)[0]
        for op, draw in zip(view, drawn, strict=True):
            if op in ours and isinstance(op, Grayscale | GaussianBlur | Solarize):
                out[_name(op, number)] = _feed(op, draw)
    return out


def check_headers(jpegs: Sequence[bytes], hw: np.ndarray) -> None:
    """Raises Unfit before DALI sees them: on a bad header or a box outside its image several operators would fail at
    once, which DALI does not always survive; a box drawn for a smaller image would cut something else out of it."""
    for place, (jpeg, size) in enumerate(zip(jpegs, hw.tolist(), strict=True)):
        try:
            found = list(simplejpeg.decode_jpeg_header(jpeg)[:2])
        except ValueError as error:
            raise _damaged(place, error) from error
        if found != size:
            raise Unfit(place, why := f"{found} px, its boxes were drawn for {size}", f"{why}: draw for those stored")


def find_damaged(jpegs: Sequence[bytes]) -> Unfit | None:
    """Which sample DALI, who names none, stumbled over; None if it was none of them."""
    for place, jpeg in enumerate(jpegs):
        try:
            simplejpeg.decode_jpeg(jpeg)
        except ValueError as error:
            return _damaged(place, error)
    return None


def _damaged(place: int, error: ValueError) -> Unfit:
    return Unfit(place, str(error), f"damaged ({error}): build the set again")


def _name(op: Op, number: int) -> str:
    return f"{type(op).__name__}{number}"


def _feed(op: Grayscale | GaussianBlur | Solarize, draw: Draw) -> Feed:
    """An op's draw as its operator wants it; values that change nothing where it is off."""
    match op:
        case Grayscale():
            return np.where(draw["on"][:, None, None], np.array([LUMA] * 3), np.eye(3)).astype(np.float32)
        case Solarize():
            return np.where(draw["on"], op.threshold, 256).astype(np.int32)
        case GaussianBlur():
            halves = half_kernels(np.where(draw["on"], draw["sigma"], 0.0), reach(op)).astype(np.float32)
            used = (halves > LEAST).sum(1)
            return [np.concatenate([half[1:n][::-1], half[:n]]) for half, n in zip(halves, used, strict=True)]


def graph(dali: ModuleType, views: Views, device: str, decoder: Mapping[str, int]) -> tuple[Node, ...]:
    """The outputs of the pipeline: each view [S, S, 3]. `decoder`: more arguments of the decoder."""
    fn, types = dali.fn, dali.types
    image = fn.decoders.image(
        fn.external_source(name="jpeg"),
        device="mixed" if device == "gpu" else "cpu",
        output_type=types.RGB,
        adjust_orientation=False,  # boxes are drawn for the image as it is stored
        jpeg_fancy_upsampling=True,  # as libjpeg-turbo does
        hw_decoder_load=0.0,  # a share of each batch on the other decoder would let neighbors decide over pixels
        **decoder,
    )
    return tuple(_view(dali, view, number, image, device) for number, view in enumerate(views))


def _view(dali: ModuleType, view: View, number: int, image: Node, device: str) -> Node:
    """One view [S, S, 3]: float32 where DALI normalizes, else uint8. The mirror comes last, with the layout."""
    fn, types = dali.fn, dali.types
    crop, x, mirror = fn.external_source(name=f"crop{number}"), image, None
    for op in split(view)[0]:
        match op:
            case RandomResizedCrop() | ResizeCenterCrop():
                x = _crop(dali, op, x, crop)
            case HorizontalFlip():
                mirror = crop[8]
            case Grayscale():
                matrix = fn.external_source(name=_name(op, number))
                x = fn.coord_transform(x, M=matrix, dtype=types.UINT8)
            case GaussianBlur():  # one axis at a time, rounded in between as PIL rounds
                kernel = _drawn(dali, op, number, device)
                for axis in (0, 1):
                    x = fn.filter(x, fn.expand_dims(kernel, axes=[axis]), border="clamp")
            case Solarize():
                threshold = _drawn(dali, op, number, device)
                x = x ^ ((x >= threshold) * types.Constant(255, types.UINT8))
            case Normalize():
                mean, std = ([255 * v for v in values] for values in (op.mean, op.std))
                mirrored = 0 if mirror is None else mirror
                return fn.crop_mirror_normalize(x, mirror=mirrored, mean=mean, std=std, output_layout="HWC")
    return x if mirror is None else fn.flip(x, horizontal=mirror)


def _drawn(dali: ModuleType, op: Op, number: int, device: str) -> Node:
    """The fed parameters of an operator that wants them beside the pixels (named arguments stay on the CPU)."""
    drawn = dali.fn.external_source(name=_name(op, number))
    return drawn.gpu() if device == "gpu" else drawn


def _crop(dali: ModuleType, op: RandomResizedCrop | ResizeCenterCrop, image: Node, crop: Node) -> Node:
    """`crop` [CROP_FIELDS] as `crops.crop_params` says. Slicing first keeps pixels outside the box out of the
    filter."""
    fn, types = dali.fn, dali.types
    filter = {"bilinear": types.INTERP_LINEAR, "bicubic": types.INTERP_CUBIC}[op.filter]
    if isinstance(op, RandomResizedCrop):
        box = fn.slice(image, start=crop[0:2], shape=crop[2:4], axes=(0, 1))
        return fn.resize(box, size=(op.size, op.size), interp_type=filter, antialias=True)
    whole = fn.resize(image, size=fn.cast(crop[4:6], dtype=types.FLOAT), interp_type=filter, antialias=True)
    return fn.slice(whole, start=crop[6:8], shape=(op.size, op.size), axes=(0, 1))
