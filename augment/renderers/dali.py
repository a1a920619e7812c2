"""The DALI renderer: JPEG bytes and draws -> views, from one decode a sample, on the CPU or a GPU.

DALI follows the draws where its operators can say what PIL says; from the first op on that they cannot, the device
renderer (`augment.renderers.device`) goes on. The rule of `split`:

* RandomResizedCrop, ResizeCenterCrop and HorizontalFlip always go to DALI; a flip commutes with every other op, so its
  place does not matter.
* Grayscale, GaussianBlur, Solarize and Normalize go to DALI as long as no ColorJitter stands before them. DALI has no
  per-sample order of ops, and its contrast, saturation and hue are not PIL's.
* HideAndSeek stays with the device, and Normalize with it: what the device takes over is always 8-bit pixels.

Gaps to the reference in levels of 255, on the tests' images at 32, 96 and 224 px (DALI 2.4, CPU decoder, whose pixels
are simplejpeg's; on photographs the border differs by up to 30, docs/parity.md):

                                     mean         99 % within   most
    crop, bilinear or bicubic        0.16..0.19   1..2          7    in the outermost pixels, 1 inside (bilinear): there
                                                                     DALI repeats the box's edge, PIL drops the taps
    resize and center crop           0.11..0.19   1             1    bicubic 3
    crop, grayscale                  0.15..0.16   1..2          5    grayscale alone 1
    crop, blur                       0.36..0.60   2..4          17   PIL's own kernel; at the border, as on the device
    supervised, evaluation           0.11..0.19   1..2          6    all in DALI
    blur, grayscale, flip, solarize  0.31..0.55   1..4          18   BYOL's without jitter, all in DALI
    MoCo v2, the device goes on      1.21..1.28   6             28   as with the host's crop

Flip and solarize are exact, and so is every op where it is off. The blur is not `gaussian_blur` (as near in the window
of PIL's kernel, 3.6 ms per image of 224 px) but `filter`, one axis at a time (0.5 ms). On the CPU this renderer is two
to five times slower than the host's crop; a GPU has not run it yet. A JPEG with garbage amid its data that still
decodes, which simplejpeg rejects, passes here with libjpeg's warning on stderr; the loader (`pipeline.dali`) compares
digests.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...shards.errors import choose, needs
from ..draw import Draws
from ..spec import View, Views
from .dali_graph import Feed, check_headers, feeds, find_damaged, graph, split
from .device import Rest

DEPTH = 2  # batches in DALI's hands: one being taken, one in the making


@dataclass(eq=False)
class Started:
    """A batch in the making, for `Renderer.take`."""

    jpegs: Sequence[bytes]
    feeds: dict[str, Feed]
    views: tuple[Tensor, ...] | None = None
    error: Exception | None = None


def rest(view: View, draws: Draws) -> Rest:
    """The ops left to the device renderer with their draws, to be packed (`device.pack`)."""
    left = split(view)[1]
    return tuple((op, draw) for op, draw in zip(view, draws, strict=True) if op in left)


class Renderer:
    """`views` of up to `samples` JPEGs a batch, by a DALI pipeline on `device` ("cpu", "gpu": torch's current one).

    `decoder`: memory hints, keyword arguments of DALI's `decoders.image`. One thread calls.
    """

    def __init__(
        self,
        views: Views,
        samples: int,
        device: str = "cpu",
        threads: int = 4,
        decoder: Mapping[str, int] | None = None,
    ):
        self.views, self.samples, self.threads, self.decoder = views, samples, threads, decoder or {}
        self.device = choose("DALI device", device, ("cpu", "gpu"))
        self.finished = tuple(not split(view)[1] for view in views)  # normalized, nothing left to the device renderer
        self._dali = needs("nvidia.dali")
        self._index = torch.cuda.current_device() if device == "gpu" else None
        self._pipe: Any = self._build()
        self._queue = deque[Started]()

    def __call__(self, jpegs: Sequence[bytes], hw: np.ndarray, draws: Sequence[Draws]) -> tuple[Tensor, ...]:
        """Images of sizes `hw` [N, 2] px and each view's draws -> a tensor a view.

        A finished view is [N, 3, S, S] float32, normalized, channels_last; any other [N, S, S, 3] uint8, for
        `device.render(split(view)[1], pixels, packed)`. Tensors share DALI's memory and stay valid for their lifetime.
        UserError (`Unfit`) names an image that is damaged or of another size than `hw` says.
        """
        return self.take(self.start(jpegs, hw, draws))

    def start(self, jpegs: Sequence[bytes], hw: np.ndarray, draws: Sequence[Draws]) -> Started:
        """Set DALI to work on a batch (N >= 1); what it makes is for `take`, or for nobody."""
        check_headers(jpegs, hw)
        batch = Started(jpegs, feeds(self.views, jpegs, hw, draws))
        if len(self._queue) == DEPTH:
            self._settle()
        self._queue.append(batch)
        self._schedule(batch)
        return batch

    def take(self, batch: Started) -> tuple[Tensor, ...]:
        """The views of a batch that was started, as `__call__` gives them; waits for them."""
        while batch.views is None and batch.error is None:
            self._settle()
        if batch.error:
            raise batch.error
        assert batch.views is not None
        return batch.views

    def close(self) -> None:
        """End DALI's threads; tensors that were handed out stay valid."""
        self._queue.clear()
        self._pipe = None

    def _schedule(self, batch: Started) -> None:
        for name, data in batch.feeds.items():
            self._pipe.feed_input(name, data)
        self._pipe.schedule_run()

    def _settle(self) -> None:
        """The oldest batch gets its views, or the error that it met."""
        batch = self._queue.popleft()
        try:
            outputs = self._pipe.outputs(None if self._index is None else torch.cuda.current_stream(self._index))
        except RuntimeError as error:
            batch.error = find_damaged(batch.jpegs) or error
            self._pipe = self._build()  # DALI declares the old one invalid
            for waiting in self._queue:
                self._schedule(waiting)
            return
        pixels = (torch.from_dlpack(output.as_tensor()) for output in outputs)
        batch.views = tuple(x.permute(0, 3, 1, 2) if f else x for x, f in zip(pixels, self.finished, strict=True))

    def _build(self) -> Any:
        # exec_dynamic: outputs belong to whoever holds them. Depth 1: `schedule_run` never wants more than it was fed.
        pipe = self._dali.Pipeline(self.samples, self.threads, self._index, exec_dynamic=True, prefetch_queue_depth=1)
        with pipe:
            pipe.set_outputs(*graph(self._dali, self.views, self.device, self.decoder))
        pipe.build()
        return pipe
