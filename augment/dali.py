"""The DALI renderer: JPEG bytes and draws -> views, from one decode a sample, on the CPU or a GPU.

DALI follows the draws where its operators can say what PIL says; from the first op on that they cannot, the device
renderer (`augment.device`) goes on. The rule of `split`:

* Crop, ResizeCenterCrop and Flip always go to DALI; a Flip commutes with every other op, so its place does not matter.
* Grey, Blur, Solarize and Normalize go to DALI as long as no Jitter stands before them. DALI has no per-sample order
  of ops, and its contrast, saturation and hue are not PIL's.
* Mask stays with the device, and Normalize with it: what the device takes over is always 8-bit pixels.

Gaps to the reference in levels of 255, on the tests' pictures at 32, 96 and 224 px (DALI 2.4, CPU decoder, whose pixels
are simplejpeg's; on photographs the border differs by up to 30, docs/parity.md):

                                     mean         99 % within   most
    Crop, bilinear or bicubic        0.16..0.19   1..2          7    in the outermost pixels, 1 inside (bilinear): there
                                                                     DALI repeats the box's edge, PIL drops the taps
    ResizeCenterCrop                 0.11..0.19   1             1    bicubic 3
    Crop, Grey                       0.15..0.16   1..2          5    the grey alone 1
    Crop, Blur                       0.36..0.60   2..4          17   PIL's own kernel; at the border, as on the device
    supervised, evaluation           0.11..0.19   1..2          6    all in DALI
    Blur, Grey, Flip, Solarize       0.31..0.55   1..4          18   BYOL's without jitter, all in DALI
    MoCo v2, the device goes on      1.21..1.28   6             28   as with the host's cut

Flip and Solarize are exact, and so is every op where it is off. Blur is not `gaussian_blur` (as near in the window of
PIL's kernel, 3.6 ms an image of 224 px) but `filter`, one axis at a time (0.5 ms). On the CPU this renderer is two to
five times slower than the host's cut; a GPU has not run it yet. A JPEG with garbage amid its data that still decodes,
which simplejpeg rejects, passes here with libjpeg's warning on stderr.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import simplejpeg
import torch
from torch import Tensor

from ..shards.errors import UserError, choose, needs
from .dali_graph import feeds, graph, split
from .device import Rest
from .draw import Draws
from .spec import View, Views


def rest(view: View, draws: Draws) -> Rest:
    """The ops left to the device renderer with their draws, to be packed (`device.pack`)."""
    left = split(view)[1]
    return tuple((op, draw) for op, draw in zip(view, draws, strict=True) if op in left)


class Renderer:
    """`views` of up to `samples` JPEGs a call, by a DALI pipeline on `device` ("cpu", "gpu": torch's current one)."""

    def __init__(self, views: Views, samples: int, device: str = "cpu", threads: int = 4):
        self.views, self.samples, self.threads = views, samples, threads
        self.device = choose("DALI device", device, ("cpu", "gpu"))
        self.finished = tuple(not split(view)[1] for view in views)  # normalised, nothing left to the device renderer
        self._dali = needs("nvidia.dali")
        self._pipe = self._build()

    def __call__(self, jpegs: Sequence[bytes], hw: np.ndarray, draws: Sequence[Draws]) -> tuple[Tensor, ...]:
        """Pictures of sizes `hw` [N, 2] px and each view's draws -> a tensor a view.

        A finished view is [N, 3, S, S] float32, normalised, channels_last; any other [N, S, S, 3] uint8, for
        `device.render(split(view)[1], pixels, packed)`. Tensors share DALI's memory and stay valid for their lifetime.
        """
        try:
            for name, data in feeds(self.views, jpegs, hw, draws).items():
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
            pipe.set_outputs(*graph(self._dali, self.views, self.device))
        pipe.build()
        return pipe


def _damaged(jpegs: Sequence[bytes]) -> UserError | None:
    """Which sample DALI, who names none, stumbled over; None if it was none of them."""
    for row, jpeg in enumerate(jpegs):
        try:
            simplejpeg.decode_jpeg(jpeg)
        except ValueError as error:
            return UserError(f"sample {row} of the batch is damaged ({error}): build the set again")
    return None


def _check_sizes(found: np.ndarray, hw: np.ndarray) -> None:
    """Boxes drawn for another size would still lie inside a larger picture, and cut something else out of it."""
    for row in (found != hw).any(1).nonzero()[0]:
        raise UserError(
            f"sample {row} of the batch is {found[row].tolist()} px, its boxes were drawn for {hw[row].tolist()}: "
            "draw from the sizes of the pictures as they are stored"
        )
