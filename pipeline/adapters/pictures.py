"""A map-style dataset of images and labels, for transforms and training loops of your own: torchvision's `ImageFolder`
over any set."""

import io
import os
from collections.abc import Callable
from operator import index
from typing import Any, SupportsIndex

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from ...shards.manifest import Manifest
from ..batch import SampleReader
from ..choose import open_any_reader, open_reader
from ..damage import damaged


class Pictures(Dataset[tuple[Any, int]]):
    """(image, label) of each sample: a PIL image in RGB, or what `transform` makes of it; -1 where unlabeled.

    `loader` names a reader of `open_reader`; by default the first for which the set has files. Each process opens its
    own files, so it can be pickled: workers may be forked or spawned. UserError names a damaged sample.
    """

    def __init__(self, data: Manifest, transform: Callable[[Image.Image], Any] | None = None, loader: str = ""):
        self.data, self.transform, self.loader = data, transform, loader
        self.classes, self.targets = list(data.info.classes), data.label.tolist()
        self._open: tuple[int, SampleReader] | None = None  # process id and its reader
        self.reader()  # a set that cannot be opened fails here

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, at: SupportsIndex) -> tuple[Any, int]:
        row = range(len(self))[index(at)]
        image = self._image(row)
        return image if self.transform is None else self.transform(image), self.targets[row]

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_open": None}

    def _image(self, row: int) -> Image.Image:
        stored = self.reader().read(row)
        if isinstance(stored, np.ndarray):
            return Image.fromarray(stored)
        try:
            return Image.open(io.BytesIO(stored)).convert("RGB")
        except OSError as error:
            raise damaged(self.data, self.reader(), row, str(error), stored) from error

    def reader(self) -> SampleReader:
        """This process's reader, opened when it is first used."""
        if self._open is None or self._open[0] != os.getpid():
            plain = "folder" if self.data.info.kind == "plain" else self.loader
            self._open = os.getpid(), open_reader(plain, self.data) if plain else open_any_reader(self.data)
        return self._open[1]

    def close(self) -> None:
        """Close this process's files; a later read opens them again."""
        if self._open and self._open[0] == os.getpid():
            self._open[1].close()
        self._open = None
