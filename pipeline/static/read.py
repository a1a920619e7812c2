"""Read a static augmented set: class folders of `<image>-0.jpeg`, the original, and -1, -2, ..., its frozen views.

For sets of `tools/make_static.py` and of ssl-small (spec small_sts A.7), whose images may be gray or CMYK. A set with a
manifest is the files of its manifest; of others, which earlier versions and ssl-small made, all files are taken.
"""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image

from ...augment.crops import crop_params
from ...augment.recipes import evaluation
from ...augment.renderers.host import threaded
from ...augment.spec import Normalize
from ...shards.encoding.headers import JPEGS, cause_of
from ...shards.engine import cores, prefetch
from ...shards.errors import UserError
from ...shards.names import open_file
from ..batch import Batch
from ..cut.resize import resized_crop
from ..kernels import warm_up
from ..options import usable
from ..plan.order import Plan
from ..workers import share_of_cores
from .listing import Item, digests, listed

AHEAD = 2  # batches that are read while one is consumed


class StaticSet:
    """A Loader whose views are the original's center crop and two stored views, normalized, [N, 3, S, S].

    Each image comes once, in the order of the paths. `batch` is global; `check`: compare the digest of each file that
    is read with that of the manifest.

    UserError names a file that is missing, not an image, of another size than the first, or not as it was made.
    """

    def __init__(
        self,
        root: Path,
        mode: str = "normal",
        *,
        batch: int = 128,
        world_size: int = 1,
        rank: int = 0,
        device: torch.device | str = "cpu",
        check: Literal["", "digest"] = "",
    ) -> None:
        self.root, self.device = root, usable(device)
        self.classes, self.items = listed(root, mode)
        self.plan = Plan(len(self.items), batch, world_size, rank, tail="exact")
        self._digests = digests(root) if check else {}
        self.size = self._pixels(self.items[0].files[1]).shape[0]  # px, of every view
        self._pool = ThreadPoolExecutor(cores(), thread_name_prefix="static")
        warm_up(rendering=True)

    def __len__(self) -> int:
        return len(self.plan)

    def epoch(self, number: int = 0, start: int = 0) -> Iterator[Batch]:
        """Batches `start`.. of the set; all epochs are the same."""
        with closing(prefetch(self.plan.ids(number, start), self._start, AHEAD)) as started:
            for ids, reads in started:
                yield self._batch(ids, reads)

    def close(self) -> None:
        """End the threads; reads that have not begun are dropped."""
        self._pool.shutdown(cancel_futures=True)

    def _start(self, ids: np.ndarray) -> list[Future[np.ndarray]]:
        return [self._pool.submit(self._read, self.items[i]) for i in ids]

    def _batch(self, ids: np.ndarray, reads: Sequence[Future[np.ndarray]]) -> Batch:
        pixels = np.empty((3, len(ids), self.size, self.size, 3), np.uint8)
        for i, read in enumerate(reads):
            pixels[:, i] = read.result()
        packed = torch.empty(len(ids), 0)  # Normalize has no parameters
        render = threaded(share_of_cores())
        views = tuple(render((Normalize(),), torch.from_numpy(x), packed).to(self.device) for x in pixels)
        target = torch.tensor([self.items[i].label for i in ids], dtype=torch.long)
        return Batch(views, target.to(self.device), torch.from_numpy(ids).to(self.device))

    def _read(self, item: Item) -> np.ndarray:
        """The original's center crop and two views, [3, S, S, 3] uint8."""
        original, *views = map(self._pixels, item.files)
        hw = np.array([original.shape[:2]])
        center = np.empty((self.size, self.size, 3), np.uint8)
        (box,) = crop_params(evaluation(self.size)[0], ({}, {}), hw)
        resized_crop(original.reshape(-1), hw[0, 1], box, self.size, center.reshape(-1))
        for view, file in zip(views, item.files[1:], strict=True):
            if view.shape != center.shape:
                raise UserError(
                    f"{file} is {view.shape[1]} x {view.shape[0]} px, others {self.size} x {self.size}: make the set "
                    "again with one --size"
                )
        return np.stack([center, *views])

    def _pixels(self, file: Path) -> np.ndarray:
        return _pixels(file, self._digests.get(file))


def _pixels(file: Path, digest: bytes | None = None) -> np.ndarray:
    """The image in any kind of JPEG, [H, W, 3] uint8; UserError for a file of another `digest`."""
    try:
        with open_file(file) as data:
            if digest and hashlib.file_digest(data, "sha256").digest() != digest:
                raise ValueError("its bytes are not those that were written")
            data.seek(0)
            with Image.open(data, formats=JPEGS) as image:
                return np.asarray(image.convert("RGB"))
    except Exception as error:  # decoders raise anything on hostile bytes
        raise UserError(f"{file} is damaged ({cause_of(error)}): make the set again") from error
