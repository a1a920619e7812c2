"""What the doctor tries in a process of its own: every loader, decoder, renderer and device, on a set of 32 images.

A trial that breaks the process, as machine code can, is named by the line that it wrote before it began.
"""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.errors import UserError
from viewstream.shards.manifest import Manifest

IMAGES, SIDE = 32, 64

# name -> the options of `open_loader`; those with "cuda" need a GPU.
TRIALS: dict[str, dict[str, Any]] = {
    "loader folder": {"reader": "folder"},
    "loader webdataset": {"reader": "webdataset"},
    "loader webdataset-stream": {"reader": "webdataset-stream"},
    "loader ffcv": {"reader": "ffcv"},
    "loader memory": {"reader": "memory"},
    "loader dali": {"reader": "dali"},
    "decoder planes": {"reader": "ffcv", "decode": "planes"},
    "renderer device": {"reader": "ffcv", "renderer": "device"},
    "renderer kornia": {"reader": "ffcv", "renderer": "kornia"},
    "cuda crops host": {"reader": "ffcv", "device": "cuda", "crops": "host"},
    "cuda crops device": {"reader": "ffcv", "device": "cuda", "crops": "device"},
    "cuda decoder gpu": {"reader": "ffcv", "device": "cuda", "decode": "gpu"},
    "cuda loader dali": {"reader": "dali", "device": "cuda"},
}


def small_set(folder: Path) -> Manifest:
    """A set of drawn images in all formats."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        path = folder / f"source/train/{number % 2}/{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8))
        coarse.resize((160, 120)).save(path, quality=90)
    formats = ("webdataset", "ffcv", "folder")
    return build(BuildOptions(source=folder / "source", out=folder / "set", format=formats, workers=1))


def tried(data: Manifest, reader: str, **options: Any) -> str:
    """One epoch of two views of each image; what it is like in a few words."""
    from viewstream.augment.recipes import views_of
    from viewstream.pipeline.choose import open_loader
    from viewstream.pipeline.plan.order import Plan

    loader = open_loader(reader, data, Plan(len(data), 16), views_of("moco_v2", SIDE), **options)
    try:
        begin = time.perf_counter()
        shown = sum(len(batch.index) for batch in loader.epoch(0))
        seconds = time.perf_counter() - begin
    finally:
        loader.close()
    return f"{shown} images in {seconds:.2f} s"


def main(folder: Path) -> None:
    """Try everything on a set in `folder`; a line before each trial and one after it."""
    import torch

    data, cuda = small_set(folder), torch.cuda.is_available()
    for name, options in TRIALS.items():
        if name.startswith("cuda") and not cuda:
            continue
        print(json.dumps({"trial": name}), flush=True)
        try:
            state, words = True, tried(data, **options)
        except (UserError, ModuleNotFoundError) as error:
            state, words = False, str(error)
        except Exception as error:  # of any library: the doctor goes on
            state, words = False, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        print(json.dumps({"trial": name, "works": state, "words": words}), flush=True)
