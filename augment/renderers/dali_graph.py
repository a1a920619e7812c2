"""The graph of operators of the DALI renderer (`renderers.dali`), and which ops of a view it executes."""

from collections.abc import Mapping
from types import ModuleType
from typing import Any

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
    built_in_ops,
)

Node = Any  # nvidia.dali.data_node.DataNode: the output of an operator in the graph


def split(view: View) -> tuple[tuple[Op, ...], tuple[Op, ...]]:
    """(the ops that DALI executes, the ops left to the device renderer), each in the view's order."""
    ops = built_in_ops(view)
    kinds = [type(op) for op in ops]
    until = kinds.index(ColorJitter) if ColorJitter in kinds else len(ops)
    if HideAndSeek in kinds:
        until = min(until, kinds.index(Normalize))
    in_dali = tuple(op for at, op in enumerate(ops) if at < until or isinstance(op, HorizontalFlip))
    return in_dali, tuple(op for op in ops if op not in in_dali)


def input_name(op: Op, number: int) -> str:
    """The name of the input for `op` of view `number`."""
    return f"{type(op).__name__}{number}"


def graph(dali: ModuleType, views: Views, device: str, decoder: Mapping[str, float]) -> tuple[Node, ...]:
    """The pipeline's outputs, one node [S, S, 3] per view. `decoder`: more arguments of DALI's decoder."""
    fn, types = dali.fn, dali.types
    image = fn.decoders.image(
        fn.external_source(name="jpeg"),
        device="mixed" if device == "gpu" else "cpu",
        output_type=types.RGB,
        adjust_orientation=False,  # boxes are drawn for the stored orientation
        jpeg_fancy_upsampling=True,  # as in libjpeg-turbo
        **{"hw_decoder_load": 0.0, **decoder},  # between 0 and 1 a batch decides which decoder makes an image's pixels
    )
    return tuple(_view(dali, view, number, image, device) for number, view in enumerate(views))


def _view(dali: ModuleType, view: View, number: int, image: Node, device: str) -> Node:
    """One view [S, S, 3]: float32 if DALI normalizes it, else uint8. Mirroring comes last."""
    fn, types = dali.fn, dali.types
    crop, x, mirror = fn.external_source(name=f"crop{number}"), image, None
    for op in split(view)[0]:
        match op:
            case RandomResizedCrop() | ResizeCenterCrop():
                x = _crop(dali, op, x, crop)
            case HorizontalFlip():
                mirror = crop[8]
            case Grayscale():
                matrix = fn.external_source(name=input_name(op, number))
                x = fn.coord_transform(x, M=matrix, dtype=types.UINT8)
            case GaussianBlur():  # one axis at a time, rounded in between as in PIL
                kernel = _input(dali, op, number, device)
                for axis in (0, 1):
                    x = fn.filter(x, fn.expand_dims(kernel, axes=[axis]), border="clamp")
            case Solarize():
                threshold = _input(dali, op, number, device)
                x = x ^ ((x >= threshold) * types.Constant(255, types.UINT8))
            case Normalize():
                mean, std = ([255 * v for v in values] for values in (op.mean, op.std))
                mirrored = 0 if mirror is None else mirror
                return fn.crop_mirror_normalize(x, mirror=mirrored, mean=mean, std=std, output_layout="HWC")
    return x if mirror is None else fn.flip(x, horizontal=mirror)


def _input(dali: ModuleType, op: Op, number: int, device: str) -> Node:
    """The fed parameters of `op` as an operand, on the device of the pixels (named arguments stay on the CPU)."""
    node = dali.fn.external_source(name=input_name(op, number))
    return node.gpu() if device == "gpu" else node


def _crop(dali: ModuleType, op: RandomResizedCrop | ResizeCenterCrop, image: Node, crop: Node) -> Node:
    """`image` cropped and resized by `crop` [CROP_FIELDS] of `crops.crop_params`. Slicing before resizing keeps pixels
    outside the box out of the filter."""
    fn, types = dali.fn, dali.types
    filter = {"bilinear": types.INTERP_LINEAR, "bicubic": types.INTERP_CUBIC}[op.filter]
    if isinstance(op, RandomResizedCrop):
        box = fn.slice(image, start=crop[0:2], shape=crop[2:4], axes=(0, 1))
        return fn.resize(box, size=(op.size, op.size), interp_type=filter, antialias=True)
    whole = fn.resize(image, size=fn.cast(crop[4:6], dtype=types.FLOAT), interp_type=filter, antialias=True)
    return fn.slice(whole, start=crop[6:8], shape=(op.size, op.size), axes=(0, 1))
