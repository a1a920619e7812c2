"""Makes damaged files of a set again, byte by byte as they were built, and nothing else."""

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import simplejpeg

from ..building.blocks import is_raw
from ..columns import FILE, write_columns
from ..errors import UserError
from ..files import atomic, make_folder
from ..formats.beton import JPEG, RAW, BetonWriter
from ..formats.tar import TarWriter, around
from ..info import write_info
from ..locks import LOCK, alone
from ..manifest import Manifest
from ..names import refuse_links, within
from ..progress import Bar
from ..sources.source import Source
from .copies import Copies
from .damage import Damage
from .indices import index_texts
from .spans import tar_spans


def repair(manifest: Manifest, damages: Sequence[Damage], source: Callable[[], Source]) -> list[str]:
    """Make damaged files again, and what an older set lacks: its columns, its identity; returns the files' names.

    An image comes from any format that still has it whole, else from `source`, which is opened only then. UserError
    when its bytes cannot be found any more; then that file stays as it is.
    """
    names: list[str] = []
    for damage in damages:
        refuse_links(manifest.root, within(manifest.root, damage.file))
    if not (manifest.root / FILE).exists() or any(damage.file == FILE for damage in damages):
        write_columns(manifest.root)
        manifest, names = Manifest.open(manifest.root, max_pixels=manifest.max_pixels), [FILE]
    damages = [damage for damage in damages if damage.file != FILE]
    if damages and manifest.info.kind == "indexed":
        raise UserError(f"{manifest.root} indexes files that were made elsewhere: fetch those again")
    with _scratch(manifest.root) as scratch:
        copies = Copies(manifest, source, scratch)
        texts = dict(index_texts(manifest))
        for damage in damages:
            path = manifest.root / damage.file
            if path in texts:
                with atomic(path, "w") as file:
                    file.write(texts[path])
            elif path.suffix == ".tar":
                _tar(manifest, path, copies)
            elif path.suffix == ".beton":
                _beton(manifest, path, copies)
            else:
                copies.fetch(damage.rows)
                make_folder(path.parent)
                with atomic(path) as file:
                    file.write(copies.jpeg(damage.rows[0]))
            names.append(damage.file)
    if not manifest.info.identity:
        write_info(manifest.root, replace(manifest.info, identity=manifest.identity))
    return names


@contextmanager
def _scratch(root: Path) -> Iterator[Path]:
    """The name of a folder in a set that one repair at a time may make; what a killed one has left is removed."""
    scratch = root / "repair"
    with alone(root / LOCK, f"another process writes {root}: wait for it"), ExitStack() as stack:
        stack.callback(shutil.rmtree, scratch, ignore_errors=True)
        shutil.rmtree(scratch, ignore_errors=True)
        yield scratch


def _tar(manifest: Manifest, path: Path, copies: Copies) -> None:
    number = manifest.tars().index(path)
    rows = tar_spans(manifest, number).rows.tolist()
    fields = copies.fields(rows)
    with _fetched(path, rows, copies) as bar, atomic(path) as file:
        tar = TarWriter(file)
        for row, more in zip(rows, fields, strict=True):
            jpeg, shape = copies.jpeg(row), (int(manifest.height[row]), int(manifest.width[row]))
            named = zip(manifest.info.fields, more, strict=True)
            before, after = around(manifest.key(row), int(manifest.label[row]), len(jpeg), *shape, named)
            tar.write(before + jpeg + after, before + copies.digest(row) + after)
            bar.update()
        tar.end()
        _check(manifest, path, tar.digest.hexdigest())


def _beton(manifest: Manifest, path: Path, copies: Copies) -> None:
    page = manifest.info.encoding
    raw = is_raw(manifest.uid, page.get("raw_fraction", 0), page.get("seed", 0))
    rows = np.argsort(manifest.beton).tolist()
    with _fetched(path, rows, copies) as bar, atomic(path) as file:
        writer = BetonWriter(file, len(manifest) + len(manifest.info.report["skipped"]))
        for row in rows:
            data, mode, sha256 = copies.jpeg(row), JPEG, copies.digest(row)
            if raw[row]:
                data, mode = simplejpeg.decode_jpeg(data).tobytes(), RAW
                sha256 = hashlib.sha256(data).digest()
            shape = int(manifest.height[row]), int(manifest.width[row])
            writer.add(data, sha256, *shape, int(manifest.label[row]), mode)
            bar.update()
        _check(manifest, path, writer.end())


@contextmanager
def _fetched(path: Path, rows: Sequence[int], copies: Copies) -> Iterator[Bar]:
    """Fetch the images of a file; the bar, whose second half is for writing them."""
    with Bar(2 * len(rows), "img", f"repairing {path.name}") as bar:
        copies.fetch(rows, bar.update)
        yield bar


def _check(manifest: Manifest, path: Path, digest: str) -> None:
    """UserError unless the file made again is the file that was built; raised before it takes that file's place."""
    line = next(line for line in manifest.info.files if manifest.root / line["file"] == path)
    if digest != line["digest"]:
        raise UserError(f"{path} cannot be made again byte by byte: build the set again, the same command does")
