"""A data set by its place, a reader or a loader by its name. Modules that the tables name are imported on use."""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..augment.renderers.compiler import Choice
from ..augment.spec import Views
from ..shards.errors import UserError, choose, command
from ..shards.files import PAGE
from ..shards.info import ENDS
from ..shards.manifest import Manifest
from ..shards.unpack import MAX_PIXELS
from .batch import SampleReader
from .loader import ViewLoader
from .memory.loader import MemoryLoader
from .options import Check, Crops, Decode, LoaderOptions, Renderer
from .plan.order import Plan
from .readers.remote import CACHE, forms, is_remote, open_remote, origin_of
from .readers.stage import Stage

if TYPE_CHECKING:
    from .dali.loader import DaliLoader

READERS = {
    "folder": ".readers.folder",
    "webdataset": ".readers.webdataset",
    "webdataset-stream": ".readers.sequential",
    "ffcv": ".readers.ffcv",
}
LOADERS = (*READERS, "memory", "dali")


def open_set(
    where: str,
    split: str = "train",
    cache: Path = CACHE,
    limit: int = 100 * 10**9,
    max_pixels: int = MAX_PIXELS,
    mbps: float = 0.0,
) -> Manifest:
    """A built set, local or at a URL (`cache` keeps up to `limit` bytes of its tars, and each process fetches at most
    `mbps` megabits per second, 0 without a limit), or class folders of images. UserError if `where` is none of these,
    or has an image of more than `max_pixels`."""
    if "://" in where:
        return open_remote(where, cache, limit, max_pixels=max_pixels, mbps=mbps)
    folder = Path(where)
    if folder.is_dir() and not (folder / PAGE).exists() and _has_classes(folder, split):
        from ..shards.plain import plain

        return plain(folder, split, max_pixels)
    return Manifest.open(folder, max_pixels=max_pixels)


def _has_classes(folder: Path, split: str) -> bool:
    """Whether these are class folders, not the remains of an unfinished build."""
    half = folder / split
    return half.is_dir() or not any((folder / name).exists() for name in ("building", "folder", "manifest.parquet"))


def open_reader(name: str, manifest: Manifest, source: str = "", stage: Stage | None = None) -> SampleReader:
    """The reader `name` of a data set; `source` is the folder that a `--keep` set was built from, for the folder
    reader; `stage`: where this node copies the set to while it is read. UserError for an unknown name, a missing
    package or a format not built, and for one that cannot be staged."""
    if manifest.info.kind == "plain" and name != "folder":
        raise UserError(
            f"{manifest.root} is a folder of images, not a built set: read it with --loader folder, "
            f"or build it with `{command('python tools/build_shards.py', '--source', manifest.root)}`"
        )
    choose("loader", name, READERS)
    if stage:
        from .readers.staged import open_staged

        return open_staged(name, manifest, stage)
    if name == "folder" and is_remote(manifest):
        raise UserError(f"{origin_of(manifest)[0]} is read from {' or '.join(forms(manifest))}: choose that --loader")
    opener = importlib.import_module(READERS[name], __package__).open_reader
    return opener(manifest, source) if name == "folder" else opener(manifest)


def open_any_reader(manifest: Manifest, stage: Stage | None = None) -> SampleReader:
    """The first reader of READERS for which a built set has files, at a URL no folder, and files that can be staged if
    there is a `stage`. UserError for plain images."""
    held = forms(manifest) if is_remote(manifest) else manifest.info.formats
    names = (*ENDS, *READERS) if stage else READERS
    return open_reader(next((name for name in names if name in held), ""), manifest, stage=stage)


def open_loader(
    reader: str | SampleReader,
    manifest: Manifest,
    plan: Plan,
    views: Views,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    threads: int = 0,
    crops: Crops = "auto",
    decode: Decode = "cpu",
    hw_decoder_load: float = 0.0,
    renderer: Renderer = "auto",
    compile: Choice = "auto",
    skip: bool = False,
    check: Check = "decode",
    source: str = "",
    stage: Stage | None = None,
) -> "ViewLoader | DaliLoader":
    """A `ViewLoader` over a reader, by its name in READERS or an object of your own, which the loader then closes.

    "memory" is a `MemoryLoader` and "dali" a `DaliLoader` over the first reader for which the set has files; over a
    reader of your own, create them yourself. `source` and `stage` are those of `open_reader`, the other keywords are
    those of `LoaderOptions`.
    """
    options = LoaderOptions(
        device=device,
        dtype=dtype,
        threads=threads,
        crops=crops,
        decode=decode,
        hw_decoder_load=hw_decoder_load,
        renderer=renderer,
        compile=compile,
        skip=skip,
        check=check,
    )
    if hw_decoder_load and reader != "dali":
        raise UserError("--hw-decoder-load divides the work of DALI: choose --loader dali with it, or leave it out")
    if not isinstance(reader, str):
        return ViewLoader(manifest, plan, views, reader, options)
    choose("loader", reader, LOADERS)
    if reader == "memory":
        if decode != "cpu":
            raise UserError(f"--loader memory decodes the set once, to RGB on the CPU: leave out --decode {decode}")
        plain = manifest.info.kind == "plain"
        form = open_reader("folder", manifest, stage=stage) if plain else open_any_reader(manifest, stage)
        return MemoryLoader(manifest, plan, views, form, options)
    if reader != "dali":
        return ViewLoader(manifest, plan, views, open_reader(reader, manifest, source, stage), options)
    if decode != "cpu":
        raise UserError(
            f"--loader dali decodes by itself, on a GPU if the views are made there: leave out --decode {decode}"
        )
    from .dali.loader import DaliLoader

    return DaliLoader(manifest, plan, views, open_any_reader(manifest, stage), options)
