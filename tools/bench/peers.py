"""Stock loaders on the same images, for `bench_loader.py --peers`: random crops and mirrors as uint8, no color work.

Each is set up as its own documentation does it, with the same crops, batch and number of threads or processes. None
follows our draws: they draw for themselves, which is what they do for their users.
"""

import random
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch

from viewstream.augment.spec import RandomResizedCrop
from viewstream.shards.errors import needs
from viewstream.shards.manifest import Manifest

Case = Callable[[int], int]  # epoch -> samples delivered


class Job(NamedTuple):
    """What every case has to do."""

    manifest: Manifest
    crops: Sequence[RandomResizedCrop]
    batch: int
    batches: int  # a round
    threads: int

    @property
    def samples(self) -> int:
        return min(self.batches * self.batch, len(self.manifest))


def stock_ffcv(job: Job) -> Case:
    """ffcv as released: a pipeline a view, each decoding the JPEG again; crops by its own INTER_AREA resize."""
    loader_type, order = needs("ffcv.loader").Loader, needs("ffcv.loader").OrderOption.RANDOM
    spec = needs("ffcv.pipeline.pipeline_spec").PipelineSpec
    image, moves = needs("ffcv.fields.rgb_image"), needs("ffcv.transforms")

    def pipeline(crop: RandomResizedCrop) -> object:
        decoder = image.RandomResizedCropRGBImageDecoder((crop.size, crop.size), scale=crop.area, ratio=crop.ratio)
        return spec("image", decoder=decoder, transforms=[moves.RandomHorizontalFlip(), moves.ToTensor()])

    pipelines = {f"view{i}": pipeline(crop) for i, crop in enumerate(job.crops)}
    loader = loader_type(
        str(job.manifest.beton_path()), job.batch, num_workers=job.threads, order=order, drop_last=True,
        os_cache=True, pipelines={**pipelines, "image": None, "label": None},
    )  # fmt: skip
    return lambda epoch: sum(len(batch[0]) for batch in islice(iter(loader), job.batches))


def torchvision_folder(job: Job) -> Case:
    """ImageFolder and DataLoader, crops and mirrors in PIL."""
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder

    data = ImageFolder(str(job.manifest.root / "folder"), transform=partial(_each, _pil_moves(job)))
    loader = DataLoader(data, job.batch, shuffle=True, num_workers=job.threads, drop_last=True,
                        persistent_workers=True)  # fmt: skip
    return lambda epoch: sum(len(batch[1]) for batch in islice(loader, job.batches))


def stock_webdataset(job: Job) -> Case:
    """webdataset's pipeline with a shuffle buffer, PIL decoding, torchvision's crops, in DataLoader's processes."""
    wds = needs("webdataset")
    from torch.utils.data import DataLoader

    tars = [str(tar) for tar in job.manifest.tars()]
    data = (
        wds.WebDataset(tars, shardshuffle=False, nodesplitter=None, workersplitter=None, empty_check=False)
        .shuffle(500)
        .decode("pil")
        .to_tuple("jpg", "cls")
        .map_tuple(partial(_each, _pil_moves(job)), _same)
        .slice(job.samples // job.threads)
    )
    loader = DataLoader(data, job.batch, num_workers=job.threads, persistent_workers=True)
    return lambda epoch: sum(len(batch[1]) for batch in loader)


def stock_dali(job: Job) -> Case:
    """A DALI graph on the CPU: its webdataset reader, one decode, an antialiased random crop and a mirror a view."""
    dali = needs("nvidia.dali")
    fn, types = dali.fn, dali.types
    pipe = dali.Pipeline(job.batch, job.threads, None, prefetch_queue_depth=2)
    tars = [str(tar) for tar in job.manifest.tars()]
    with pipe:
        jpeg, _ = fn.readers.webdataset(
            paths=tars, index_paths=[tar.removesuffix(".tar") + ".idx" for tar in tars], ext=["jpg", "cls"],
            random_shuffle=True, initial_fill=500, missing_component_behavior="error", name="reader",
        )  # fmt: skip
        image = fn.decoders.image(jpeg, device="cpu", output_type=types.RGB)
        views = [
            fn.flip(
                fn.random_resized_crop(image, size=(c.size, c.size), random_area=c.area, random_aspect_ratio=c.ratio,
                                       interp_type=types.INTERP_LINEAR, antialias=True),
                horizontal=fn.random.coin_flip(),
            )
            for c in job.crops
        ]  # fmt: skip
        pipe.set_outputs(*views)
    pipe.build()
    steps = job.samples // job.batch
    return lambda epoch: sum(len(pipe.run()[0]) for _ in range(steps))


def stock_spdl(job: Job) -> Case:
    """SPDL's pipeline: in its threads FFmpeg decodes a file anew for every view, crops, scales and mirrors it."""
    io, pipeline = needs("spdl.io"), needs("spdl.pipeline")
    from torchvision import transforms

    rows = list(range(job.samples))

    def view(packets: Any, crop: RandomResizedCrop, row: int) -> Any:
        like = torch.empty(1).expand(1, int(job.manifest.height[row]), int(job.manifest.width[row]))
        top, left, height, width = transforms.RandomResizedCrop.get_params(like, list(crop.area), list(crop.ratio))
        flip = ",hflip" if random.random() < 0.5 else ""
        moves = f"crop={width}:{height}:{left}:{top},scale={crop.size}:{crop.size}:flags=bilinear{flip}"
        frames = io.decode_packets(packets.clone(), filter_desc=f"{moves},format=pix_fmts=rgb24")
        return io.to_numpy(io.convert_frames(frames))

    def views(row: int) -> list[Any]:
        packets = io.demux_image(str(job.manifest.path(row)))
        return [view(packets, crop, row) for crop in job.crops]

    def stacked(samples: list[list[Any]]) -> list[np.ndarray]:
        return [np.stack(some) for some in zip(*samples, strict=True)]

    def run(epoch: int) -> int:
        builder = pipeline.PipelineBuilder().add_source(random.sample(rows, len(rows)))
        builder = builder.pipe(views, concurrency=job.threads).aggregate(job.batch).pipe(stacked).add_sink(2)
        made = builder.build(num_threads=job.threads, max_failures=0)
        with made.auto_stop():
            return sum(len(batch[0]) for batch in made)

    return run


PEERS: dict[str, tuple[str, str, Callable[[Job], Case]]] = {  # name -> package, format it reads, case
    "stock ffcv": ("ffcv", "ffcv", stock_ffcv),
    "stock DALI": ("nvidia.dali", "webdataset", stock_dali),
    "stock webdataset": ("webdataset", "webdataset", stock_webdataset),
    "torchvision folder": ("torchvision", "folder", torchvision_folder),
    "SPDL": ("spdl", "folder", stock_spdl),
}


def _pil_moves(job: Job) -> list[Callable[[Any], Any]]:
    from torchvision import transforms

    return [
        transforms.Compose(
            [transforms.RandomResizedCrop(c.size, c.area, c.ratio), transforms.RandomHorizontalFlip(),
             transforms.PILToTensor()]
        )
        for c in job.crops
    ]  # fmt: skip


def _each(moves: list[Callable[[Any], Any]], image: Any) -> list[Any]:
    return [move(image) for move in moves]


def _same(value: Any) -> Any:
    return value
