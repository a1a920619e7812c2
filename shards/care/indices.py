"""The files beside a set that follow from its manifest: indices of tars, and the record of a static set."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..formats.static import RECORD, record_text
from ..formats.tar import dali_index, index_path, wids_index
from ..manifest import Manifest
from ..names import open_file
from ..table import TABLE, Table
from .damage import Damage
from .spans import tar_spans


def damaged_indices(manifest: Manifest) -> Iterator[Damage]:
    """Check the files whose texts follow from the manifest."""
    for path, text in index_texts(manifest):
        try:
            with open_file(path) as file:
                cause = "" if file.read() == text.encode() else "differs from the manifest"
        except OSError as error:
            cause = "is absent" if isinstance(error, FileNotFoundError) else str(error)
        if cause:
            yield Damage(str(path.relative_to(manifest.root)), cause)


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
