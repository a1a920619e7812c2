"""One unit, from images to its tar on the target: the work of one process, here or on a machine of a cluster."""

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from ..encoding.shrink import warm_up
from ..errors import UserError
from ..files import partial_path
from ..formats.tar import TarWriter, index_path
from ..info import JSON
from . import records
from .blocks import BlockEncoder, EncodedBlock
from .folder import BUILDING
from .job import damaged, versions
from .layout import Unit
from .records import ROWS
from .target import Target
from .unit import UnitWriter


class Finished(NamedTuple):
    """What the driver hears of a unit; its rows are in its record."""

    number: int
    images: int  # stored or skipped
    bytes: int  # of its tar


@dataclass(frozen=True)
class UnitTask:
    """Builds units of a set. In memory are one block, read and encoded, the rows of the unit, and parts of an upload,
    at most four of 16 MB; on the disk is one tar, in $TMPDIR if the target is an object store. Measured: 250 MiB with
    tars of 256 MB, of JPEGs of 1.6 MB, to S3; 90 of them before the first unit."""

    target: Target
    name: str  # of the set
    encoder: BlockEncoder
    tars: bool  # whether the set keeps them
    skip: bool  # damaged images
    versions: JSON  # of the packages that decide the bytes, where the build was started

    def __call__(self, item: tuple[int, Unit]) -> Finished:
        """Build a unit, given with its number: the tar and its index go to their keys, then the record, which says
        that they are there. UserError if an image is damaged, or for other versions than those of the driver."""
        number, unit = item
        _same_versions(tuple(self.versions.items()))
        if not self.encoder.encoding.keep:
            _warm_up()
        with self.target.workspace() as folder:
            tar = folder / f"{self.name}-{number:06d}.tar"
            with partial_path(tar).open("wb") as file:
                writer = UnitWriter(number, TarWriter(file), None, None, self.encoder.fields)
                for block in unit.blocks():
                    writer.add(self._encoded(unit, block))
                line = writer.end_tar(tar)
            if line:
                line["file"] = tar.name if self.tars else f"{BUILDING}/{number:06d}.tar"
                self.target.put(tar, line["file"])
                if self.tars:
                    self.target.put(index_path(tar), index_path(tar).name)
            self._record(folder, number, unit, writer, line)
        return Finished(number, len(unit), line["bytes"] if line else 0)

    def _encoded(self, unit: Unit, block: slice) -> EncodedBlock:
        encoded = self.encoder(unit.samples(block))
        if encoded.skipped and not self.skip:
            raise damaged(**encoded.skipped[0])
        return encoded

    def _record(self, folder: Path, number: int, unit: Unit, writer: UnitWriter, line: JSON | None) -> None:
        record = records.write(
            folder,
            number,
            pa.table(writer.rows, schema=ROWS),
            digest=unit.digest(),
            tar=line,
            beton=(0, 0),
            kinds=dict(writer.kinds),
            suspect=tuple(writer.suspect),
            skipped=tuple(writer.skipped),
        )
        self.target.put(record.path, f"{BUILDING}/{record.path.name}")


@cache
def _warm_up() -> None:
    warm_up()


@cache
def _same_versions(driver: tuple[tuple[str, str], ...]) -> None:
    """UserError for other versions here than the driver has: their bytes may differ. Once per process."""
    own = versions()
    for name, there in driver:
        if (here := own.get(name)) != there:
            raise UserError(
                f"{os.uname().nodename} has {name} {here}, this build was started with {name} {there}: install the "
                "same version on all machines"
            )
