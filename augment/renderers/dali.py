"""The DALI renderer: JPEG bytes and draws -> views, decoding each JPEG once, on the CPU or a GPU.

DALI executes the ops for which its operators give the results of PIL; from the first op without such an operator, the
device renderer (`augment.renderers.device`) takes over. The rule of `split`:

* RandomResizedCrop, ResizeCenterCrop and HorizontalFlip always run in DALI; a flip commutes with every other op, so its
  position does not matter.
* Grayscale, GaussianBlur, Solarize and Normalize run in DALI unless a ColorJitter comes before them. DALI has no order
  of ops per sample, and its contrast, saturation and hue differ from PIL.
* HideAndSeek runs on the device, and Normalize with it: the device always takes over 8-bit pixels.

Differences to the reference in levels of 255, on the tests' images at 32, 96 and 224 px (DALI 2.4, CPU decoder, which
gives the pixels of simplejpeg; on photographs the border differs by up to 30, docs/parity.md):

                                     mean         99 % within   max
    crop, bilinear or bicubic        0.16..0.19   1..2          7    at the border, 1 inside (bilinear): past the box
                                                                     DALI repeats its edge, PIL drops the taps
    resize and center crop           0.11..0.19   1             1    bicubic 3
    crop, grayscale                  0.15..0.16   1..2          5    grayscale alone 1
    crop, blur                       0.36..0.60   2..4          17   PIL's kernel; at the border, as on the device
    supervised, evaluation           0.11..0.19   1..2          6    all in DALI
    blur, grayscale, flip, solarize  0.31..0.55   1..4          18   BYOL's views without jitter, all in DALI
    MoCo v2, finished on the device  1.21..1.28   6             28   as with the host's crop

Flip and solarize are exact, and so is every op where it is off. The blur is not DALI's `gaussian_blur` (as close within
the window of PIL's kernel, 3.6 ms per image of 224 px) but `filter`, one axis at a time (0.5 ms). On the CPU this
renderer is two to five times slower than the host's crop. On a GPU, MoCo v2's views differ from the host's by 0.04 on
average and by less than 1 for 99 %. simplejpeg rejects a JPEG with garbage inside its data that still decodes; here it
passes with a warning of libjpeg on stderr, so the loader (`pipeline.dali`) compares digests.
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
from ..spec import View, Views, built_in_ops
from .dali_graph import graph, split
from .dali_inputs import Feed, check_headers, feeds, find_damaged
from .packing import Rest

DEPTH = 2  # batches in DALI at once: one is taken while the next one runs


@dataclass(eq=False)
class Started:
    """A batch that DALI works on; `Renderer.take` waits for its views."""

    jpegs: Sequence[bytes]
    feeds: dict[str, Feed]
    views: tuple[Tensor, ...] | None = None
    error: Exception | None = None


def rest(view: View, draws: Draws) -> Rest:
    """The ops left to the device renderer, each with its draw, for `packing.pack`."""
    on_device = split(view)[1]
    return tuple((op, draw) for op, draw in zip(built_in_ops(view), draws, strict=True) if op in on_device)


class Renderer:
    """Renders `views` of up to `samples` JPEGs per batch, by a DALI pipeline on `device` ("cpu", or "gpu" for torch's
    current one).

    `decoder`: keyword arguments of DALI's `decoders.image`: memory hints, the share of the JPEG engine. Not for several
    threads at once.
    """

    def __init__(
        self,
        views: Views,
        samples: int,
        device: str = "cpu",
        threads: int = 4,
        decoder: Mapping[str, float] | None = None,
    ):
        self.views, self.samples, self.threads, self.decoder = views, samples, threads, decoder or {}
        self.device = choose("DALI device", device, ("cpu", "gpu"))
        self.finished = tuple(not split(view)[1] for view in views)  # nothing left to the device renderer
        self._dali = needs("nvidia.dali")
        self._index = torch.cuda.current_device() if device == "gpu" else None
        self._pipe: Any = self._build()
        self._queue = deque[Started]()

    def __call__(self, jpegs: Sequence[bytes], hw: np.ndarray, draws: Sequence[Draws]) -> tuple[Tensor, ...]:
        """JPEGs of sizes `hw` [N, 2] px and the draws of each view -> one tensor per view.

        A view that DALI finishes is [N, 3, S, S] float32, normalized, channels_last; any other is [N, S, S, 3] uint8,
        for `device.render(split(view)[1], pixels, packed)`. Tensors share memory with DALI and stay valid as long as
        they live. UserError (`Unfit`) names an image that is damaged or does not have the size in `hw`.
        """
        return self.take(self.start(jpegs, hw, draws))

    def start(self, jpegs: Sequence[bytes], hw: np.ndarray, draws: Sequence[Draws]) -> Started:
        """Start DALI on a batch (N >= 1). `take` returns its views; a batch that is never taken is dropped."""
        check_headers(jpegs, hw)
        batch = Started(jpegs, feeds(self.views, jpegs, hw, draws))
        if len(self._queue) == DEPTH:
            self._settle()
        self._queue.append(batch)
        self._schedule(batch)
        return batch

    def take(self, batch: Started) -> tuple[Tensor, ...]:
        """Wait for the views of a started batch, in the form of `__call__`."""
        while batch.views is None and batch.error is None:
            self._settle()
        if batch.error:
            raise batch.error
        assert batch.views is not None
        return batch.views

    def close(self) -> None:
        """End DALI's threads; tensors that were returned stay valid."""
        self._queue.clear()
        self._pipe = None

    def _schedule(self, batch: Started) -> None:
        for name, data in batch.feeds.items():
            self._pipe.feed_input(name, data)
        self._pipe.schedule_run()

    def _settle(self) -> None:
        """Wait for the oldest batch and set its views or its error."""
        batch = self._queue.popleft()
        try:
            outputs = self._pipe.outputs(None if self._index is None else torch.cuda.current_stream(self._index))
        except RuntimeError as error:
            batch.error = find_damaged(batch.jpegs) or error
            self._pipe = self._build()  # DALI's pipeline is invalid after an error
            for waiting in self._queue:
                self._schedule(waiting)
            return
        pixels = (torch.from_dlpack(output.as_tensor()) for output in outputs)
        batch.views = tuple(x.permute(0, 3, 1, 2) if f else x for x, f in zip(pixels, self.finished, strict=True))

    def _build(self) -> Any:
        # exec_dynamic: outputs live as long as they are referenced. Depth 1: `schedule_run` never needs an unfed batch.
        pipe = self._dali.Pipeline(self.samples, self.threads, self._index, exec_dynamic=True, prefetch_queue_depth=1)
        with pipe:
            pipe.set_outputs(*graph(self._dali, self.views, self.device, self.decoder))
        pipe.build()
        return pipe
