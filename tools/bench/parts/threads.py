"""Many threads for suite.py: a loader on few cores whose decoding and cropping sleep as long as they take on one.

What the threads share is the interpreter, as they would on as many cores. `one call per task` is the loader;
`one call per image` reads, decodes and crops each image by itself, as it does without libturbojpeg and with a reader
that has no `extents`.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np

from viewstream.augment.recipes import views_of
from viewstream.pipeline import cropping
from viewstream.pipeline.choose import open_reader
from viewstream.pipeline.loader import ViewLoader
from viewstream.pipeline.options import LoaderOptions
from viewstream.pipeline.plan.order import Plan
from viewstream.pipeline.turbojpeg import RGB
from viewstream.shards.manifest import Manifest
from viewstream.tools.bench.measuring.apart import Case
from viewstream.tools.bench.measuring.rounds import compared
from viewstream.tools.bench.parts.sets import Setting

DECODE, CROP = 0.0008, 0.0001  # seconds of an image
BATCH, TASK = 256, 8  # images


def groups(setting: Setting) -> dict[str, Case]:
    """16 and 64 threads."""
    return {f"{threads} threads that sleep": partial(waiting, setting, threads) for threads in (16, 64)}


def waiting(setting: Setting, threads: int) -> dict[str, Any]:
    """Images per second of `threads` threads, with a call per task and per image, beside their sleep alone."""
    data = setting.set(64, copies=2 if setting.quick else 8)
    images = (1 if setting.quick else 8) * threads * BATCH

    def asleep(number: int) -> int:
        with ThreadPoolExecutor(threads) as pool:
            for task in [pool.submit(time.sleep, TASK * (CROP + DECODE)) for _ in range(images // TASK)]:
                task.result()
        return images

    def loader(one_by_one: bool, number: int) -> int:
        with sleeping(one_by_one):
            return loaded(data, threads, images, one_by_one)

    todo = {
        "the sleep alone": asleep,
        "one call per task": partial(loader, False),
        "one call per image": partial(loader, True),
    }
    return compared(todo, setting.rounds, unit="image", floor="the sleep alone", threads=threads, images="")


def loaded(data: Manifest, threads: int, images: int, one_by_one: bool) -> int:
    """Take at least `images` images from a loader; how many."""
    reader, options, count = open_reader("webdataset", data), LoaderOptions(threads=threads), 0
    if one_by_one:
        reader.read = reader.read  # a `read` of its own: such a reader is not asked for extents
    with closing(ViewLoader(data, Plan(len(data), BATCH), views_of("moco_v2", 16), reader, options)) as loader:
        for epoch in range(images):
            for host in loader.host_batches(epoch):
                if (count := count + len(host.index)) >= images:
                    return count
    raise AssertionError("unreachable")


@contextmanager
def sleeping(one_by_one: bool) -> Iterator[None]:
    """Decode and crop by sleep, GROUP bytes of images in one call or each by itself."""

    def decode_all(samples: list[Any], *_: Any) -> np.ndarray:
        time.sleep(DECODE * len(samples))
        return np.full(len(samples), RGB, np.uint8)

    def crops(_: Any, first: np.ndarray, *__: Any) -> None:
        time.sleep(CROP * len(first))

    with (
        patch.object(cropping, "decode_all", decode_all),
        patch.object(cropping, "resized_crops_of_all", crops),
        patch.object(cropping, "GROUP", 1 if one_by_one else cropping.GROUP),
    ):
        yield
