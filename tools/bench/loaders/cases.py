"""The cases of loader.py: the floor (decoding alone), and every loader of this project."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from typing import Any

import numpy as np
import simplejpeg

from viewstream.augment.spec import HorizontalFlip, Normalize, Views
from viewstream.pipeline.choose import LOADERS, READERS, open_loader, open_reader
from viewstream.pipeline.loader import ViewLoader
from viewstream.pipeline.options import Decode
from viewstream.pipeline.plan.order import Plan
from viewstream.pipeline.plan.orders import WindowShuffle
from viewstream.pipeline.timing import Times
from viewstream.pipeline.turbojpeg import has_turbojpeg
from viewstream.shards.errors import choose, installed
from viewstream.tools.bench.loaders.job import Case, Job

FLOOR = "floor: decode only"
CHUNK = 16  # images per task of the floor


def floor(job: Job) -> Case:
    """Decode JPEGs from memory, each task into one reused buffer."""
    manifest = job.manifest
    with closing(open_reader(next(name for name in READERS if name in manifest.info.formats), manifest)) as reader:
        jpegs = [data for row in range(job.samples) if isinstance(data := reader.read(row), bytes)]
    largest = int((manifest.height.astype(np.int64) * manifest.width).max()) * 3
    pool = ThreadPoolExecutor(job.threads)

    def decode(chunk: list[bytes]) -> int:
        buffer = np.empty(largest, np.uint8)
        for jpeg in chunk:
            simplejpeg.decode_jpeg(jpeg, buffer=buffer)
        return len(chunk)

    chunks = [jpegs[at : at + CHUNK] for at in range(0, len(jpegs), CHUNK)]
    return lambda epoch: sum(pool.map(decode, chunks))  # pyright: ignore


def ours(
    name: str, job: Job, views: Views, times: dict[str, Times], *, crop_on_device: bool = False, decode: Decode = "cpu"
) -> Case:
    """The loader `name`, whose stage times go into `times`. DALI normalizes too: its graph runs to the end."""
    order = WindowShuffle(job.manifest.shard) if name == "webdataset-stream" else None
    plan = Plan(len(job.manifest), job.batch, order=order)
    if name == "dali" and not job.rendered:
        views = tuple((view[0], HorizontalFlip(), Normalize()) for view in views)
    crops = "device" if crop_on_device else "host"
    loader = open_loader(name, job.manifest, plan, views, threads=job.threads, crops=crops, decode=decode)
    if isinstance(loader, ViewLoader):
        times[name + ", decoded only" * crop_on_device + ", planes" * (decode == "planes")] = loader.times

    def case(epoch: int) -> int:
        whole = job.rendered and not crop_on_device
        epochs: Any = loader.host_batches if isinstance(loader, ViewLoader) and not whole else loader.epoch
        with closing(epochs(epoch)) as batches:
            return sum(len(batch.index) for batch in islice(batches, job.batches))

    return case


def cases(job: Job, views: Views, loader: str, times: dict[str, Times]) -> dict[str, Case]:
    """The floor, `loader` (several names, or "all" that can read the set here), and the first one without crops."""
    formats = job.manifest.info.formats
    names = [name for name in READERS if name.partition("-")[0] in formats]
    if loader != "all":
        names = [choose("loader", name, LOADERS) for name in loader.split(",")]
    elif installed("nvidia.dali"):
        names.append("dali")
    found = {FLOOR: floor(job)} | {name: ours(name, job, views, times) for name in names}
    if loader == "all" and "webdataset" in names and has_turbojpeg():
        found["webdataset, planes"] = ours("webdataset", job, views, times, decode="planes")
    if (reader := "webdataset" if "webdataset" in names else names[0]) in READERS:
        found[f"{reader}, decoded only"] = ours(reader, job, views, times, crop_on_device=True)
    return found
