"""litdata and mosaicml-streaming: the JPEGs of a set in their own formats, through torch's DataLoader and torchvision.

Their copies of the set lie in a temporary folder until the program ends.
"""

import atexit
import io
import shutil
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from PIL import Image
from torch.utils.data import DataLoader

from viewstream.pipeline.choose import open_reader
from viewstream.shards.errors import needs
from viewstream.tools.bench.loaders.job import Case, Job
from viewstream.tools.bench.peers.torch_loaders import Transform, transform

CHUNK_BYTES = 1 << 26


def stock_litdata(job: Job) -> Case:
    """litdata's StreamingDataset and StreamingDataLoader."""
    lit, folder = needs("litdata"), _folder("litdata")
    writer = needs("litdata.streaming.writer").BinaryWriter(str(folder), chunk_bytes=CHUNK_BYTES)
    for row, (jpeg, label) in enumerate(_samples(job)):
        writer.add_item(row, {"jpeg": jpeg, "label": label})
    writer.done()
    writer.merge(1)
    data = lit.StreamingDataset(str(folder), shuffle=True, drop_last=True, transform=_Decoded(transform(job)))
    options: dict[str, Any] = {"batch_size": job.batch, "num_workers": job.threads, "persistent_workers": True}
    loader = lit.StreamingDataLoader(data, shuffle=True, drop_last=True, **options)
    return lambda epoch: sum(len(batch[1]) for batch in islice(loader, job.batches))


def stock_streaming(job: Job) -> Case:
    """mosaicml-streaming's StreamingDataset in torch's DataLoader."""
    streaming, folder = needs("streaming"), _folder("streaming")
    columns = {"jpeg": "bytes", "label": "int"}
    with streaming.MDSWriter(out=str(folder), columns=columns, size_limit=CHUNK_BYTES) as writer:
        for jpeg, label in _samples(job):
            writer.write({"jpeg": jpeg, "label": label})
    decoded = _Decoded(transform(job))

    class Images(streaming.StreamingDataset):
        def __getitem__(self, at: int) -> tuple[list[Any], int]:
            return decoded(super().__getitem__(at))

    data = Images(local=str(folder), shuffle=True, batch_size=job.batch)
    loader = DataLoader(data, job.batch, num_workers=job.threads, persistent_workers=True, drop_last=True)
    return lambda epoch: sum(len(batch[1]) for batch in islice(loader, job.batches))


class _Decoded:
    """A stored sample -> its views and its label."""

    def __init__(self, views: Transform):
        self.views = views

    def __call__(self, sample: dict[str, Any]) -> tuple[list[Any], int]:
        image = Image.open(io.BytesIO(sample["jpeg"])).convert("RGB")
        return self.views(image), sample["label"]


def _samples(job: Job) -> Iterator[tuple[bytes, int]]:
    """JPEG and label of each image of the set."""
    reader = open_reader("webdataset", job.manifest)
    for row in range(len(job.manifest)):
        yield bytes(reader.read(row)), int(job.manifest.label[row])
    reader.close()


def _folder(name: str) -> Path:
    folder = tempfile.mkdtemp(prefix=f"viewstream-{name}-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
