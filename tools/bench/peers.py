"""Other loaders on the same images, for `loader.py --peers`: random crops and flips as uint8, no color work.

Each is set up as in its own documentation, with the same crops, batch and number of threads or processes. They draw
crops by their own rules, as they do for their users.
"""

import random
from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np
import torch
from torchvision import transforms

from viewstream.augment.spec import RandomResizedCrop
from viewstream.shards.errors import needs
from viewstream.tools.bench.loader_job import Case, Job
from viewstream.tools.bench.peers_torch import stock_webdataset, torchvision_folder


def stock_ffcv(job: Job) -> Case:
    """ffcv as released: one pipeline per view, which decodes the JPEG again; crops by its own INTER_AREA resize."""
    ffcv, image, moves = needs("ffcv.loader"), needs("ffcv.fields.rgb_image"), needs("ffcv.transforms")
    spec = needs("ffcv.pipeline.pipeline_spec").PipelineSpec

    def pipeline(crop: RandomResizedCrop) -> object:
        decoder = image.RandomResizedCropRGBImageDecoder((crop.size, crop.size), scale=crop.area, ratio=crop.ratio)
        return spec("image", decoder=decoder, transforms=[moves.RandomHorizontalFlip(), moves.ToTensor()])

    pipelines = {f"view{i}": pipeline(crop) for i, crop in enumerate(job.crops)} | {"image": None, "label": None}
    options = {"order": ffcv.OrderOption.RANDOM, "drop_last": True, "os_cache": True, "num_workers": job.threads}
    loader = ffcv.Loader(str(job.manifest.beton_path()), job.batch, pipelines=pipelines, **options)
    return lambda epoch: sum(len(batch[0]) for batch in islice(iter(loader), job.batches))


def stock_dali(job: Job) -> Case:
    """A DALI graph on the CPU: webdataset reader, one decode, and per view an antialiased random crop and a flip."""
    dali = needs("nvidia.dali")
    fn, types = dali.fn, dali.types
    tars = [str(tar) for tar in job.manifest.tars()]
    files = {"paths": tars, "index_paths": [tar.removesuffix(".tar") + ".idx" for tar in tars], "ext": ["jpg", "cls"]}
    order = {"random_shuffle": True, "initial_fill": 500, "missing_component_behavior": "error", "name": "reader"}
    linear = {"interp_type": types.INTERP_LINEAR, "antialias": True}

    def view(image: Any, crop: RandomResizedCrop) -> Any:
        box = {"size": (crop.size, crop.size), "random_area": crop.area, "random_aspect_ratio": crop.ratio}
        return fn.flip(fn.random_resized_crop(image, **box, **linear), horizontal=fn.random.coin_flip())

    pipe = dali.Pipeline(job.batch, job.threads, None, prefetch_queue_depth=2)
    with pipe:
        jpeg, _ = fn.readers.webdataset(**files, **order)
        image = fn.decoders.image(jpeg, device="cpu", output_type=types.RGB)
        pipe.set_outputs(*(view(image, crop) for crop in job.crops))
    pipe.build()
    steps = job.samples // job.batch
    return lambda epoch: sum(len(pipe.run()[0]) for _ in range(steps))


def stock_spdl(job: Job) -> Case:
    """SPDL's threads: FFmpeg decodes a file again for every view, then crops, resizes and flips it."""
    io, pipeline = needs("spdl.io"), needs("spdl.pipeline")
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
        return [np.stack(images) for images in zip(*samples, strict=True)]

    def run(epoch: int) -> int:
        builder = pipeline.PipelineBuilder().add_source(random.sample(rows, len(rows)))
        builder = builder.pipe(views, concurrency=job.threads).aggregate(job.batch).pipe(stacked).add_sink(2)
        started = builder.build(num_threads=job.threads, max_failures=0)
        with started.auto_stop():
            return sum(len(batch[0]) for batch in started)

    return run


PEERS: dict[str, tuple[str, str, Callable[[Job], Case]]] = {  # name -> package, format it reads, case
    "stock ffcv": ("ffcv", "ffcv", stock_ffcv),
    "stock DALI": ("nvidia.dali", "webdataset", stock_dali),
    "stock webdataset": ("webdataset", "webdataset", stock_webdataset),
    "torchvision folder": ("torchvision", "folder", torchvision_folder),
    "SPDL": ("spdl", "folder", stock_spdl),
}
