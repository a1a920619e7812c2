"""A source in, a complete data set out: `build` reads top to bottom.

Storage order is a keyed shuffle, so every tar mixes the classes. The work is cut into blocks of samples, each block is
encoded by one worker, and this process alone writes, in order: the bytes on disk cannot depend on the worker count.
In memory are at most (workers + 3) blocks of some 16 MB, and about half a KB a sample for the manifest.
"""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, fields
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from tqdm import tqdm

from .encode import Damaged, Encoded, Encoding, encode
from .engine import cores, in_order
from .errors import UserError
from .files import workplace
from .manifest import JSON, Info, Manifest, write
from .plan import Sample, bytes_of, plan
from .source import Reader
from .sources.imagefolder import imagefolder
from .store import Store
from .subsets import subset


@dataclass(frozen=True)
class BuildOptions:
    """Which pictures, how stored, and where"""

    source: Annotated[
        Path | None, "folder with train/ and val/, class folders in each ($IMAGENET, else data/imagenet)"
    ] = None
    out: Annotated[Path | None, "new folder for the set (data/shards/SOURCE-SUBSET-SPLIT)"] = None
    split: Annotated[Literal["train", "val"], "which half of the source"] = "train"
    subset: Annotated[str, "full, or the long-tailed lt6 by its published list"] = "full"
    draw_subset: Annotated[bool, "draw the subset's per-class counts instead of using the list"] = False
    lists: Annotated[Path | None, "folder with the published lists ($VIEWSTREAM_LISTS, else fetched once)"] = None
    allow_missing: Annotated[bool, "go on when the source lacks files of the list"] = False
    format: Annotated[tuple[Literal["webdataset", "ffcv", "folder"], ...], "what to write"] = ("webdataset", "ffcv")
    max_side: Annotated[int, "shrink the longer side to this many px"] = 400
    quality: Annotated[int, "of the JPEGs, 1-100"] = 90
    keep: Annotated[bool, "store plain JPEGs as they are, at full size"] = False
    on_error: Annotated[Literal["fail", "skip"], "what to do about a damaged picture"] = "fail"
    shard_size: Annotated[str, "about how large a tar becomes"] = "256MB"
    workers: Annotated[int, "processes; 0 = one a core"] = 0
    seed: Annotated[int, "of the storage order and of --draw-subset"] = 0


def build(options: BuildOptions) -> Manifest:
    """Build the set that `options` describe; UserError for anything a person can mend, and then nothing is left."""
    _check(options)
    encoding = Encoding(options.keep, options.max_side, options.quality)
    root = options.source or Path(os.environ.get("IMAGENET") or "data/imagenet")
    source = imagefolder(root, options.split)
    draw, lists, missing = options.draw_subset, options.lists, options.allow_missing
    part = subset(
        source, options.subset, options.split, draw=draw, lists=lists, allow_missing=missing, seed=options.seed
    )
    name = f"{source.name}-{options.subset}-{options.split}"
    out = options.out or Path("data/shards") / name
    parameters = {field.name: str(getattr(options, field.name)) for field in fields(options)}
    with workplace(out, parameters):
        samples, blocks = plan(source, part, encoding, bytes_of(options.shard_size), options.seed)
        workers = min(options.workers or cores(), len(blocks))
        work = partial(_encode_block, source.reader, encoding)
        with ExitStack() as stack:
            results = stack.enter_context(closing(in_order(work, blocks, workers)))
            store = Store(out, name, options.format, len(samples), stack)
            report = _fill(store, samples, results, skip=options.on_error == "skip")
        if part.missing:
            report["missing"] = part.missing
        info = Info(
            name=name,
            split=options.split,
            subset=part.origin,
            classes=source.classes,
            counts=tuple(np.bincount(store.rows["label"], minlength=len(source.classes)).tolist()),
            samples=len(store),
            encoding=asdict(encoding) if not options.keep else {"keep": True, "quality": options.quality},
            formats=options.format,
            files=tuple(store.files()),
            report=report,
            tool=f"viewstream {version('viewstream')}",
        )
        return write(out, info, store.rows)


def _check(options: BuildOptions) -> None:
    if not options.format:
        raise UserError("--format names nothing to write: give webdataset, ffcv or folder, or several with commas")
    if not 1 <= options.quality <= 100:
        raise UserError(f"--quality {options.quality} is not a JPEG quality: take 1 to 100, 90 is usual")
    if options.max_side < 1:
        raise UserError(f"--max-side {options.max_side} leaves no pixels: take 400, or --keep for full size")
    if options.workers < 0:
        raise UserError(f"--workers {options.workers} is less than none: take 0 for one a core")


def _encode_block(reader: Reader, encoding: Encoding, paths: list[str]) -> list[Encoded | str]:
    """In a worker: what to store for each path, or why it cannot be."""
    done: list[Encoded | str] = []
    for path in paths:
        try:
            done.append(encode(reader.read(path), encoding))
        except (Damaged, OSError) as error:
            done.append(str(error))
    return done


def _fill(store: Store, samples: list[Sample], results: Iterator[list[Encoded | str]], *, skip: bool) -> JSON:
    """Store every sample in order; the report says what was normalised, suspected and skipped."""
    kinds: Counter[str] = Counter()
    suspects: list[JSON] = []
    skipped: list[JSON] = []
    encoded = (one for block in results for one in block)
    for sample, one in zip(samples, tqdm(encoded, total=len(samples), unit="img", disable=None), strict=True):
        if isinstance(one, str):
            if not skip:
                raise UserError(
                    f"{sample.path} is damaged: {one}; mend or remove it, or go on without: --on-error skip"
                )
            skipped.append({"source": sample.path, "cause": one})
            continue
        store.add(sample, one)
        kinds.update(one.kinds)
        if one.suspect:
            suspects.append({"source": sample.path, "cause": one.suspect})
    if not len(store):
        raise UserError(
            f"all {len(samples)} pictures are damaged, the first by: {skipped[0]['cause']}: is it the right source?"
        )
    return {"normalised": dict(sorted(kinds.items())), "suspect": suspects, "skipped": skipped}
