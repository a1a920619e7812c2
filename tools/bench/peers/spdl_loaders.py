"""SPDL's threads on single files, decoded by FFmpeg: as in its documentation, and with one decode for all views."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torchvision import transforms

from viewstream.augment.spec import RandomResizedCrop
from viewstream.shards.errors import needs
from viewstream.tools.bench.loaders.job import Case, Job
from viewstream.tools.bench.peers.pooled import area_views


def stock_spdl(job: Job) -> Case:
    """FFmpeg decodes a file again for every view, then crops, resizes and flips it."""
    io = _with_ffmpeg(job)

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

    return _pipeline(job, views)


def spdl_once(job: Job) -> Case:
    """FFmpeg decodes a file once; OpenCV's INTER_AREA cuts every view."""
    io, cut = _with_ffmpeg(job), area_views(job.crops)

    def views(row: int) -> list[np.ndarray]:
        packets = io.demux_image(str(job.manifest.path(row)))
        image = io.to_numpy(io.convert_frames(io.decode_packets(packets, filter_desc="format=pix_fmts=rgb24")))
        return cut(image.reshape(image.shape[-3:]))

    return _pipeline(job, views)


def _with_ffmpeg(job: Job) -> Any:
    """spdl.io; ImportError where it finds no shared libraries of FFmpeg, which it looks for at the first image."""
    io = needs("spdl.io")
    try:
        io.demux_image(str(job.manifest.path(0)))
    except RuntimeError as error:
        raise ImportError("it needs the shared libraries of FFmpeg") from error
    return io


def _pipeline(job: Job, views: Callable[[int], list[Any]]) -> Case:
    """The batches of SPDL's pipeline over `views` of each row, in random order."""
    pipeline, rows = needs("spdl.pipeline"), list(range(job.samples))

    def stacked(samples: list[list[Any]]) -> list[np.ndarray]:
        return [np.stack(images) for images in zip(*samples, strict=True)]

    def run(epoch: int) -> int:
        builder = pipeline.PipelineBuilder().add_source(random.sample(rows, len(rows)))
        builder = builder.pipe(views, concurrency=job.threads).aggregate(job.batch).pipe(stacked).add_sink(2)
        started = builder.build(num_threads=job.threads, max_failures=0)
        with started.auto_stop():
            return sum(len(batch[0]) for batch in started)

    return run
