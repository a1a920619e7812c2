"""The files beside a set that follow from its manifest: indices of tars, and the record of a static set."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np

from ..engine import prefetch
from ..formats.static import RECORD, record_text
from ..formats.tar import dali_index, index_path, wids_index
from ..manifest import Manifest
from ..sources.storage import Storage
from ..table import TABLE, Table
from .damage import Damage, reason
from .spans import tar_spans


def damaged_indices(manifest: Manifest, files: Storage, pool: ThreadPoolExecutor, ahead: int) -> Iterator[Damage]:
    """Check the files in `files` whose texts follow from the manifest, `ahead` at a time."""
    texts = ((str(path.relative_to(manifest.root)), text) for path, text in index_texts(manifest))
    with closing(prefetch(texts, lambda item: [pool.submit(_cause, files, *item)], ahead)) as started:
        for (name, _), (task,) in started:
            if cause := task.result():
                yield Damage(name, cause)


def _cause(files: Storage, name: str, text: str) -> str:
    """How a file differs from its text, "" if it does not."""
    try:
        return "" if files.read(name) == text.encode() else "differs from the manifest"
    except OSError as error:
        return reason(error)


def index_texts(manifest: Manifest) -> Iterator[tuple[Path, str]]:
    """Each such file and its text; of tars none for indexed sets, which have no such files of ours."""
    if "static" in manifest.info.encoding:
        yield manifest.root / RECORD, record_text(manifest.info.encoding["static"])
    tars = manifest.tars()
    if not tars or manifest.info.kind == "indexed":
        return
    m = manifest
    more = np.array([m.field(name)[1] for name in m.info.fields], np.int64).reshape(-1, len(m)).T
    names = Table(m.root / TABLE)
    for number, tar in enumerate(tars):
        rows = tar_spans(manifest, number).rows
        columns = (c[rows].tolist() for c in (m.label, m.height, m.width, m.offset, m.bytes, more))
        yield index_path(tar), dali_index(zip(names.values("key", rows), *columns, strict=True), m.info.fields)
    lines = [line for line in m.info.files if line["file"].endswith(".tar")]
    yield m.root / f"{m.info.name}.wids.json", wids_index(m.info.name, lines)
