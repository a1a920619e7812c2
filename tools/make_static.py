"""Write augmented views of a data set as JPEGs, a static set on which instance discrimination is measured.

python tools/make_static.py --data data/shards/imagenet-full-val --per-class 50 --out data/static/val
"""

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from viewstream.shards.cli import parse, run

# isort: split
import numpy as np
import pyarrow as pa

from viewstream.pipeline.readers.ranged import few
from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.engine import cores, prefetch
from viewstream.shards.errors import UserError, plural
from viewstream.shards.files import SPACE, make_folder, partial_path, place, writing
from viewstream.shards.info import JSON
from viewstream.shards.locks import alone
from viewstream.shards.manifest import Manifest
from viewstream.shards.progress import Bar
from viewstream.tools.static_choice import Choice, Static, require_new
from viewstream.tools.static_preview import planned

BLOCK = 128  # images per task of a thread


@dataclass(frozen=True)
class Preview:
    """Before it is made"""

    dry_run: Annotated[bool, "say what would be written and what it takes, and write nothing"] = False


def make(options: Static) -> Path:
    """Make the static set; returns its folder.

    The format `folder` gives a tree of class folders, `webdataset` and `ffcv` a built set of the same files; together
    they share the folder. UserError for a mistake in the options, and if the folder exists.
    """
    manifest, views, rows, names, classes, out = Choice.of(options, options.cache)
    from viewstream.pipeline.static.describe import in_order, seal  # with torch, after --help, which needs none
    from viewstream.pipeline.static.write import Freezer

    render = options.render(BLOCK)
    with _work_folder(out) as work, few(manifest) as reader:
        folder, shards = work / "images" / out.name, work / "set"
        for name in classes:
            (folder / name).mkdir(parents=True)
        numbers = {name: number for number, name in enumerate(classes)}
        reader.prefetch(iter([rows]))
        freezer = Freezer(manifest, reader, names, numbers, views, render, options.mode, options.seed, folder)
        table = in_order(_write(rows, freezer, options.workers or cores()))
        made = _as_set(options, folder, shards, classes, table)
        place(seal(made, _record(options, manifest, len(rows))), out)
    named = plural(len(classes), "class")
    print(f"{out}: {plural(len(rows), 'image')} of {named}, {options.mode}, {options.recipe}")
    return out


def _record(options: Static, manifest: Manifest, images: int) -> JSON:
    """The content of static.json: all that decides the pixels."""
    from viewstream.pipeline.cut import VERSION as CROP
    from viewstream.pipeline.static.write import EPOCH

    free = {"data", "out", "format", "workers", "cache"}
    settings = {name: value for name, value in dataclasses.asdict(options).items() if name not in free}
    info = manifest.info
    data = {"data": info.name, "manifest": info.manifest}
    return {**settings, "crop_version": CROP, "epoch": EPOCH, "images": images, **data}


def _write(rows: np.ndarray, freezer: Callable[[np.ndarray], pa.Table], workers: int) -> list[pa.Table]:
    """Threads: hardly any of the work holds the interpreter's lock, and processes would need seconds to begin."""
    from viewstream.pipeline.static.write import one_thread

    blocks, tables = [rows[at : at + BLOCK] for at in range(0, len(rows), BLOCK)], []
    with (
        one_thread(),  # of torch, in each of ours
        ThreadPoolExecutor(workers) as pool,
        closing(prefetch(blocks, lambda block: [pool.submit(freezer, block)], workers + 1)) as started,
        Bar(len(rows), "img", "static set") as bar,
    ):
        for block, (written,) in started:
            tables.append(written.result())
            bar.update(len(block))
    return tables


def _as_set(options: Static, folder: Path, shards: Path, classes: tuple[str, ...], table: pa.Table) -> Manifest:
    """A set in the formats of `options` of class folders in `folder`, whose files `table` lists; in `folder`, or in
    `shards` without them."""
    from viewstream.pipeline.static.describe import describe, join, require_same
    from viewstream.pipeline.static.write import QUALITY

    kinds: tuple[Literal["webdataset", "ffcv"], ...] = tuple(f for f in options.format if f != "folder")
    choice = BuildOptions(source=folder, out=shards, format=kinds, keep=True, quality=QUALITY, workers=options.workers)
    if not kinds:
        return describe(folder, classes, table, choice)
    try:
        made = build(choice)
    except UserError as error:
        cause = error.__cause__
        if not isinstance(cause, OSError):
            raise
        raise OSError(cause.errno, cause.strerror) from error  # no shards stay, as its own words would have it
    require_same(made, table)
    return join(made, folder) if "folder" in options.format else made


@contextmanager
def _work_folder(out: Path) -> Iterator[Path]:
    """A work folder beside `out`, of one process at a time and removed at the end: `out` appears by a rename, so it is
    complete or absent. UserError, which names `out`, if the disk refuses anything in the block."""
    work, lock = partial_path(out), out.with_name(out.name + ".lock")
    with writing(out, f"{SPACE}, or name another --out"), ExitStack() as stack:
        make_folder(out.parent)
        refusal = f"another process is making {out}: wait for it, or name another --out"
        stack.enter_context(alone(lock, refusal))
        require_new(out)
        stack.callback(shutil.rmtree, work, ignore_errors=True)
        shutil.rmtree(work, ignore_errors=True)  # left by a run that was killed
        work.mkdir()
        yield work


def main() -> None:
    options, preview = parse(Static(), Preview(), description=__doc__ or "")
    if preview.dry_run:
        print(planned(options))
    else:
        make(options)


if __name__ == "__main__":
    run(main)
