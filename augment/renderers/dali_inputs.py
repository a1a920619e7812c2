"""The inputs of the DALI renderer's pipeline, and checks of JPEGs before and after it runs."""

from collections.abc import Sequence

import numpy as np
import simplejpeg

from ...shards.encoding.headers import fault_of
from ...shards.errors import UserError
from ..crops import crop_params
from ..draw import Draw, Draws
from ..spec import GaussianBlur, Grayscale, Solarize, Views, built_in_ops
from .dali_graph import input_name, split
from .packing import half_kernels, reach

Feed = np.ndarray | list[np.ndarray]

LUMA = (0.299, 0.587, 0.114)
NEGLIGIBLE = 1e-6  # outer weights of a blur kernel below this are left out


class Unfit(UserError):
    """A sample that cannot be rendered: its `place` in the batch, and `why`, for a caller that knows its name."""

    def __init__(self, place: int, why: str, message: str):
        super().__init__(f"sample {place} of the batch is {message}")
        self.place, self.why = place, why


def feeds(views: Views, jpegs: Sequence[bytes], hw: np.ndarray, draws: Sequence[Draws]) -> dict[str, Feed]:
    """Name of an input -> its data, one row per sample."""
    out: dict[str, Feed] = {"jpeg": [np.frombuffer(jpeg, np.uint8) for jpeg in jpegs]}
    for number, (view, view_draws) in enumerate(zip(views, draws, strict=True)):
        out[f"crop{number}"] = crop_params(view, view_draws, hw)
        in_dali = split(view)[0]
        for op, draw in zip(built_in_ops(view), view_draws, strict=True):
            if op in in_dali and isinstance(op, Grayscale | GaussianBlur | Solarize):
                out[input_name(op, number)] = _feed(op, draw)
    return out


def _feed(op: Grayscale | GaussianBlur | Solarize, draw: Draw) -> Feed:
    """The draw of `op` as its operator takes it; where the op is off, values that change nothing."""
    match op:
        case Grayscale():
            return np.where(draw["on"][:, None, None], np.array([LUMA] * 3), np.eye(3)).astype(np.float32)
        case Solarize():
            return np.where(draw["on"], op.threshold, 256).astype(np.int32)
        case GaussianBlur():
            halves = half_kernels(np.where(draw["on"], draw["sigma"], 0.0), reach(op)).astype(np.float32)
            used = (halves > NEGLIGIBLE).sum(1)
            return [np.concatenate([half[1:n][::-1], half[:n]]) for half, n in zip(halves, used, strict=True)]


def check_headers(jpegs: Sequence[bytes], hw: np.ndarray) -> None:
    """Raise Unfit for a bad header, a missing end or a size other than `hw` [N, 2] px, before DALI gets the JPEGs.

    On a bad header or a box outside the image several operators would fail at once, which DALI does not always survive.
    A box drawn for a smaller image would crop the wrong part. On a GPU DALI fills what a JPEG lacks with gray.
    """
    for place, (jpeg, size) in enumerate(zip(jpegs, hw.tolist(), strict=True)):
        try:
            found = list(simplejpeg.decode_jpeg_header(jpeg)[:2])
        except ValueError as error:
            raise _damaged(place, str(error)) from error
        if fault := fault_of(jpeg):
            raise _damaged(place, fault)
        if found != size:
            why = f"{found} px, its boxes were drawn for {size}"
            raise Unfit(place, why, f"{why}: draw for the stored sizes")


def find_damaged(jpegs: Sequence[bytes]) -> Unfit | None:
    """The first JPEG that does not decode, or None. DALI does not name the sample that it failed on."""
    for place, jpeg in enumerate(jpegs):
        try:
            simplejpeg.decode_jpeg(jpeg)
        except ValueError as error:
            return _damaged(place, str(error))
    return None


def _damaged(place: int, why: str) -> Unfit:
    return Unfit(place, why, f"damaged ({why}): build the set again")
