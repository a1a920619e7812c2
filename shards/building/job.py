"""What is to be built: the source and the part of it, the name of the set, and how `dataset.json` describes it."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Self

from ..encoding.encode import Encoding
from ..errors import UserError
from ..info import JSON, DatasetInfo
from ..sources.detect import open_source
from ..sources.passed import PassedOver
from ..sources.source import Source
from ..subsets.choose import split_of, subset
from ..subsets.options import SubsetOptions
from ..subsets.part import Part
from .blocks import BlockEncoder
from .layout import Unit, bytes_of, layout
from .options import FREE, BuildOptions, described, encoding_of, wanted_of
from .records import Record


@dataclass(frozen=True)
class Job:
    """A build, before its first image is read."""

    options: BuildOptions
    choice: SubsetOptions
    encoding: Encoding
    source: Source
    part: Part
    name: str
    split: str  # train or val, of the set
    reading: str  # the same of the source

    @classmethod
    def of(cls, options: BuildOptions, choice: SubsetOptions) -> Self:
        """Open the source and choose its part. UserError for options that cannot work, and as of both."""
        encoding = encoding_of(options)
        where, root = str(options.source or os.environ.get("IMAGENET") or "data/imagenet"), options.root
        if options.engine == "ray":  # whose processes run in a folder of their own
            where, root = _absolute(where), _absolute(root)
        reading, split = split_of(choice.subset, options.split)
        source = open_source(where, reading, options.source_type or None, root or None, wanted_of(options))
        if options.strict:
            source.passed.refuse(where)
        part = subset(source, choice, options.seed)
        return cls(
            options, choice, encoding, source, part, f"{source.name}-{part.origin['name']}-{split}", split, reading
        )

    @property
    def out(self) -> str | Path:
        """The folder or URL of the set."""
        return self.options.out or Path("data/shards") / self.name

    def given(self) -> JSON:
        """All that decides the bytes of a finished unit: an interrupted build continues with the same alone."""
        fixed = {f.name: getattr(self.options, f.name) for f in fields(self.options) if f.name not in FREE}
        return {**fixed, **asdict(self.choice), **versions()}

    def units(self, source: Source) -> list[Unit]:
        """The units, of this source or a staged copy of it."""
        return layout(source, self.part, self.encoding, bytes_of(self.options.shard_size), self.options.seed)

    def encoder(self, source: Source, spool: Path | None) -> BlockEncoder:
        """What encodes the blocks of units."""
        raw = self.options.raw_fraction if "ffcv" in self.options.format else 0
        return BlockEncoder(source.reader, self.encoding, raw, self.options.seed, source.fields, spool)

    def info(self, records: Sequence[Record], files: tuple[JSON, ...]) -> DatasetInfo:
        """What `dataset.json` says of the finished units and files."""
        kept = {"fields": list(self.source.fields)} if self.source.fields else {}
        check = "decode" if self.encoding.thorough() else "headers"
        return DatasetInfo(
            name=self.name,
            split=self.split,
            subset={**self.part.origin, "split": self.reading},
            classes=self.part.classes,
            counts=(),  # `write` counts
            samples=0,
            encoding=described(self.options) | kept,
            formats=self.options.format,
            files=files,
            report=_report(records, self.part.missing, self.source.passed, check),
        )


def _absolute(path: str) -> str:
    """A path that means the same in any folder; a URL, and none, as it is."""
    return path if "://" in path or not path else os.path.abspath(os.path.expanduser(path))


def versions() -> JSON:
    """The packages that decide the bytes: shards of different versions are not mixed."""
    return {name: version(name) for name in ("viewstream", "simplejpeg", "pillow")}


def damaged(source: str, cause: str) -> UserError:
    return UserError(f"{source} is damaged: {cause}; mend or remove it, or build without it: --on-error skip")


def all_damaged(total: int, cause: str) -> UserError:
    return UserError(f"all {total} images are damaged, the first by: {cause}: is it the right source?")


def _report(done: Sequence[Record], missing: list[str], passed: PassedOver, check: str) -> JSON:
    """What was normalized, suspected, skipped and passed over, and how closely images were checked."""
    kinds: Counter[str] = Counter()
    for record in done:
        kinds.update(record.kinds)
    report: JSON = {
        "check": check,
        "normalised": dict(sorted(kinds.items())),
        "suspect": [row for record in done for row in record.suspect],
        "skipped": [row for record in done for row in record.skipped],
    }
    if missing:
        report["missing"] = missing
    if passed:
        report["passed_over"] = passed.report()
    return report
