"""The DALI renderer: JPEG bytes and draws -> views, from one decode a sample, on the CPU or a GPU.

DALI follows the draws where its operators can say what PIL says; from the first op on that they cannot, the device
renderer (`augment.device`) goes on. The rule of `split`:

* Crop, ResizeCenterCrop and Flip always go to DALI; a Flip commutes with every other op, so its place does not matter.
* Grey, Blur, Solarize and Normalize go to DALI as long as no Jitter stands before them. DALI has no per-sample order
  of ops, and its contrast, saturation and hue are not PIL's.
* Mask stays with the device, and Normalize with it: what the device takes over is always 8-bit pixels.

Gaps to the reference, in levels of 255 on the tests' pictures at 32..224 px (DALI 2.4, CPU):

    GAPS
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
import simplejpeg
import torch
from torch import Tensor

from ..shards.errors import UserError, needs
from .crops import cuts
from .device import Rest, half_kernels, reach
from .draw import Draw, Draws
from .spec import Blur, Crop, Flip, Grey, Jitter, Mask, Normalize, Op, ResizeCenterCrop, Solarize, View, Views, size_of

Node = Any  # nvidia.dali.data_node.DataNode: a batch to be, while the graph is drawn
Feed = np.ndarray | list[np.ndarray]

LUMA = (0.299, 0.587, 0.114)
LEAST = 1e-6  # what a blur kernel's tail may lose


def split(view: View) -> tuple[tuple[Op, ...], tuple[Op, ...]]:
    """(what DALI does, what is left to the device renderer), each in the view's order."""
    kinds = [type(op) for op in view]
    until = kinds.index(Jitter) if Jitter in kinds else len(view)
    if Mask in kinds:
        until = min(until, kinds.index(Normalize))
    ours = tuple(op for at, op in enumerate(view) if at < until or isinstance(op, Flip))
    return ours, tuple(op for op in view if op not in ours)


def rest(view: View, draws: Draws) -> Rest:
    """The ops left to the device renderer with their draws, to be packed (`device.pack`)."""
    left = split(view)[1]
    return tuple((op, draw) for op, draw in zip(view, draws, strict=True) if op in left)


class Renderer:
    """`views` of up to `samples` JPEGs a call, by a DALI pipeline on `device` ("cpu", "gpu": torch's current one)."""

    def __init__(self, views: Views, samples: int, device: str = "cpu", threads: int = 4):
        self.views, self.samples, self.device, self.threads = views, samples, device, threads
        self.finished = tuple(not split(view)[1] for view in views)  # normalised, nothing left to the device renderer
        self._dali = needs("nvidia.dali")
        self._pipe = self._build()

    def __call__(self, jpegs: Sequence[bytes], hw: np.ndarray, draws: Sequence[Draws]) -> tuple[Tensor, ...]:
        """Pictures of sizes `hw` [N, 2] px and each view's draws -> a tensor a view.

        A finished view is [N, 3, S, S] float32, normalised, channels_last; any other [N, S, S, 3] uint8, for
        `device.render(split(view)[1], pixels, packed)`. Tensors share DALI's memory and stay valid for their lifetime.
        """
        try:
            for name, data in self._feeds(jpegs, hw, draws).items():
                self._pipe.feed_input(name, data)
            shapes, *outputs = self._pipe.run()
        except RuntimeError as error:
            self._pipe = self._build()  # the failed one may hold half of this batch
            raise _damaged(jpegs) or error from None
        _check_sizes(np.asarray(shapes.as_tensor())[:, :2], hw)
        pixels = (torch.from_dlpack(output.as_tensor()) for output in outputs)
        return tuple(x.permute(0, 3, 1, 2) if done else x for x, done in zip(pixels, self.finished, strict=True))

    def _build(self) -> Any:
        index = torch.cuda.current_device() if self.device == "gpu" else None
        # exec_dynamic: outputs belong to whoever holds them. A queue deeper than 1 would want batches fed ahead.
        pipe = self._dali.Pipeline(self.samples, self.threads, index, exec_dynamic=True, prefetch_queue_depth=1)
        with pipe:
            pipe.set_outputs(*_graph(self._dali, self.views, self.device))
        pipe.build()
        return pipe

    def _feeds(self, jpegs: Sequence[bytes], hw: np.ndarray, draws: Sequence[Draws]) -> dict[str, Feed]:
        feeds: dict[str, Feed] = {"jpeg": [np.frombuffer(jpeg, np.uint8) for jpeg in jpegs]}
        for number, (view, drawn) in enumerate(zip(self.views, draws, strict=True)):
            feeds[f"cut{number}"] = cuts(view, drawn, hw)
            ours = split(view)[0]
            for op, draw in zip(view, drawn, strict=True):
                if op in ours and isinstance(op, Grey | Blur | Solarize):
                    feeds[f"{type(op).__name__}{number}"] = _feed(op, draw)
        return feeds


def _feed(op: Grey | Blur | Solarize, draw: Draw) -> Feed:
    """An op's draw as its operator wants it; values that change nothing where it is off."""
    match op:
        case Grey():
            return np.where(draw["on"][:, None, None], np.array([LUMA] * 3), np.eye(3)).astype(np.float32)
        case Solarize():
            return np.where(draw["on"], op.threshold, 256).astype(np.int32)
        case Blur():
            halves = half_kernels(np.where(draw["on"], draw["sigma"], 0.0), reach(op)).astype(np.float32)
            used = (halves > LEAST).sum(1)
            return [np.concatenate([half[1:n][::-1], half[:n]]) for half, n in zip(halves, used, strict=True)]


def _graph(dali: ModuleType, views: Views, device: str) -> tuple[Node, ...]:
    """The outputs of the pipeline: sizes as decoded [3], then each view [S, S, 3]."""
    fn, types = dali.fn, dali.types
    jpeg = fn.external_source(name="jpeg")
    image = fn.decoders.image(
        jpeg,
        device="mixed" if device == "gpu" else "cpu",
        output_type=types.RGB,
        adjust_orientation=False,  # boxes are drawn for the picture as it is stored
        jpeg_fancy_upsampling=True,  # as libjpeg-turbo does
        hw_decoder_load=0.0,  # a share of each batch on the other decoder would let neighbours decide over pixels
    )
    shape = fn.peek_image_shape(jpeg, adjust_orientation=False)
    return shape, *(_view(dali, view, number, image, device) for number, view in enumerate(views))


def _view(dali: ModuleType, view: View, number: int, image: Node, device: str) -> Node:
    fn, types = dali.fn, dali.types
    ours, left = split(view)
    cut, x, mirror = fn.external_source(name=f"cut{number}"), image, 0
    for op in ours:
        if isinstance(op, Grey | Blur | Solarize):
            drawn = fn.external_source(name=f"{type(op).__name__}{number}")
        match op:
            case Crop() | ResizeCenterCrop():
                x = _cut(dali, op, x, cut)
            case Flip():
                mirror = cut[8]
            case Grey():
                x = fn.coord_transform(x, M=drawn, dtype=types.UINT8)
            case Blur():  # PIL's own kernel, rounded between the passes as PIL rounds
                kernel = drawn.gpu() if device == "gpu" else drawn
                for axis in (0, 1):
                    x = fn.filter(x, fn.expand_dims(kernel, axes=[axis]), border="clamp")
            case Solarize():
                threshold = drawn.gpu() if device == "gpu" else drawn
                x = x ^ ((x >= threshold) * types.Constant(255, types.UINT8))
            case Normalize():
                mean, std = ([255 * v for v in values] for values in (op.mean, op.std))
                return fn.crop_mirror_normalize(x, mirror=mirror, mean=mean, std=std, output_layout="HWC")
    return fn.flip(x, horizontal=mirror) if mirror is not 0 else x
