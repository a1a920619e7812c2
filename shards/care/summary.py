"""The summary of a set that was just built."""

import numpy as np

from ..building.job import Job
from ..errors import command, plural
from ..manifest import Manifest
from ..redaction import redacted
from ..sources.passed import sentences


def summary(manifest: Manifest) -> str:
    """A short table, and for a training set the command that trains on it."""
    info, report = manifest.info, manifest.info.report
    filled = [n for n in info.counts if n] or [0]
    of = f" of {len(info.classes):,}" if len(filled) < len(info.classes) else ""
    size, where = sum(f["bytes"] for f in info.files), redacted(manifest.url) or manifest.root
    lines = [
        ("set", f"{info.name}, {info.split} ({', '.join(f'{k} {v}' for k, v in info.subset.items() if k != 'name')})"),
        ("samples", f"{info.samples:,}, mean {manifest.bytes.mean() / 1e3:.1f} KB, mean {_size(manifest)} px"),
        ("classes", f"{len(filled):,}{of}, samples per class: {min(filled):,} to {max(filled):,}")
        if info.classes
        else ("classes", "none: unlabeled"),
        ("files", f"{len(info.files)}, {size / 1e6:,.1f} MB: {', '.join(info.formats)}"),
        *(
            (("fields", f"{', '.join(info.fields)}: in the tars, other formats hold image and label only"),)
            * bool(info.fields)
        ),
        *((kind, f"{n:,} made plain RGB JPEG") for kind, n in report["normalised"].items()),
        *((kind, _named(report[kind])) for kind in ("suspect", "skipped") if report[kind]),
        *((("missing", f"{plural(len(report['missing']), 'file')} of the list"),) if "missing" in report else ()),
        ("where", str(where)),
        *(("passed over", text) for text in sentences(report.get("passed_over", []))),
    ]
    table = "\n".join(f"{name:>14}  {text}" for name, text in lines)
    if info.split != "train":
        return table
    loader = next(form for form in ("ffcv", "webdataset", "folder") if form in info.formats)
    words = ("--method", "moco", "--loader", loader, "--data", where)
    return f"{table}\n\n{command('torchrun trainers/train.py', *words)}"


def _size(manifest: Manifest) -> str:
    return f"{manifest.width.mean():.0f}x{manifest.height.mean():.0f}"


def _named(rows: list[dict[str, str]]) -> str:
    more = f" and {len(rows) - 3:,} more" if len(rows) > 3 else ""
    return "; ".join(f"{row['source']}: {row['cause']}" for row in rows[:3]) + more


def planned(job: Job) -> str:
    """What a build would do, before an image is read."""
    source, part, options = job.source, job.part, job.options
    counts = np.bincount(part.label[part.label >= 0], minlength=len(part.classes))
    filled = counts[counts > 0]
    units = job.units(source)
    lines = [
        ("set", f"{job.name}, {job.split}"),
        ("source", f"{source.name}, {plural(len(source), 'image')}"),
        ("images", f"{len(part.rows):,} of them"),
        ("classes", f"{len(filled):,}, images per class: {filled.min():,} to {filled.max():,}")
        if len(filled)
        else ("classes", "none: unlabeled"),
        ("formats", ", ".join(options.format)),
        ("shards", f"{len(units):,} of about {options.shard_size}"),
        *((("missing", f"{plural(len(part.missing), 'file')} of the list"),) if part.missing else ()),
        *(("passed over", text) for text in sentences(source.passed.report() if source.passed else [])),
        ("where", f"{job.out}, where nothing was written yet"),
    ]
    return "\n".join(f"{name:>14}  {text}" for name, text in lines)
