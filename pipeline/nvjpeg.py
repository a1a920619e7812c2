"""nvJPEG: JPEGs decoded on a GPU, many per call, through torchcodec or torchvision.

Both let it repeat chroma where libjpeg-turbo interpolates it, so images with subsampled chroma differ from those of a
CPU at the edges of colors, others by rounding alone. libjpeg-turbo with such repetition, in place of nvJPEG, differs by
0.56 levels on average, 99 % within 7 and 58 at most (109 photographs of ImageNet with subsampled chroma). What nvJPEG
cannot decode, libjpeg-turbo does; which one does is a matter of the image alone, never of the others in its call.
"""

import importlib
import io
from collections.abc import Callable

import numpy as np
import simplejpeg
import torch
from PIL import Image
from torch import Tensor

from ..shards.encoding.headers import APP1, SCAN
from ..shards.errors import UserError

Decode = Callable[[list[Tensor]], list[Tensor]]  # JPEGs [bytes] uint8 on the host -> images [3, H, W] uint8 on the GPU
COLORS = ("YCbCr", "Gray")  # the color spaces, as simplejpeg names them, of which nvJPEG makes RGB
COMMENT = 0xFE  # a marker


def open_nvjpeg(device: torch.device) -> Decode:
    """The decoder of torchcodec, or of torchvision if that is what works. It waits for the GPU, and raises RuntimeError
    unless it can decode all of its JPEGs. UserError for a CPU, or if neither package works."""
    if device.type != "cuda":
        raise UserError("--decode gpu needs a GPU, and these views are made on the CPU: choose --decode cpu")
    reasons = []
    for package, adapter in (("torchcodec", torchcodec), ("torchvision", torchvision)):
        try:
            decode = adapter(device)
            decode([as_stored(_tiny())])
            return decode
        except (ImportError, AttributeError, TypeError, ValueError, OSError, RuntimeError) as error:
            reasons.append(f"{package}: {(str(error) or type(error).__name__).splitlines()[0]}")
    raise UserError(
        f"--decode gpu finds no nvJPEG ({'; '.join(reasons)}): pip install 'viewstream[nvjpeg]' brings it with "
        "torchcodec, or choose --decode cpu"
    )


def torchcodec(device: torch.device) -> Decode:
    """The decoder of torchcodec 0.16 or newer."""
    decode_jpeg = importlib.import_module("torchcodec.decoders").decode_jpeg
    return lambda jpegs: decode_jpeg(jpegs, mode="RGB", device=device)


def torchvision(device: torch.device) -> Decode:
    """The decoder of torchvision, deprecated since 0.29."""
    from torchvision.io import ImageReadMode, decode_jpeg

    return lambda jpegs: decode_jpeg(jpegs, mode=ImageReadMode.RGB, device=device)  # type: ignore


def decoded(decode: Decode, jpegs: list[bytes]) -> list[Tensor | np.ndarray | Exception]:
    """The image of each JPEG: [3, H, W] uint8 on the GPU; [H, W, 3] uint8 on the host if nvJPEG refuses it; the error
    if libjpeg-turbo does as well."""
    stored = [as_stored(jpeg) for jpeg in jpegs]
    try:
        return [*decode(stored)] if stored else []
    except RuntimeError as error:  # it does not say which of them it refuses
        _raise_for_memory(error)
    return [_alone(decode, jpeg) for jpeg in stored]


def _alone(decode: Decode, jpeg: Tensor) -> Tensor | np.ndarray | Exception:
    try:
        return decode([jpeg])[0]
    except RuntimeError as error:
        _raise_for_memory(error)
    try:
        return simplejpeg.decode_jpeg(jpeg.numpy())
    except (ValueError, RuntimeError) as error:
        return error


def _raise_for_memory(error: RuntimeError) -> None:
    if "out of memory" in str(error):  # whatever its class: torchcodec passes the message alone
        raise error


def as_stored(jpeg: bytes) -> Tensor:
    """A JPEG [bytes] uint8 whose EXIF has become a comment: boxes are drawn for an image as it is stored, and
    torchcodec would turn it as EXIF says."""
    data, at = bytearray(jpeg), 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != SCAN:
        if data[at + 1] == APP1:
            data[at + 1] = COMMENT
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return torch.frombuffer(data, dtype=torch.uint8)


def _tiny() -> bytes:
    """A JPEG to find out whether a decoder works."""
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "JPEG")
    return file.getvalue()
