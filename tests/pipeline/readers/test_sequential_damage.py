"""A damaged, changed or missing tar names the sample that cannot be streamed."""

import io
import os
import re
import shutil
import tarfile

import numpy as np
import pytest

from viewstream.pipeline.readers.sequential import SequentialTarReader
from viewstream.shards.errors import UserError
from viewstream.shards.manifest import Manifest

from .streams import plain, streamed, streaming


@pytest.fixture
def copy(many, tmp_path):
    """A copy of the set to damage."""
    shutil.copytree(many.root, tmp_path / "copy")
    return Manifest.open(tmp_path / "copy")


def name_of(manifest, row):
    return re.escape(f"sample {row} ({manifest.keys[row]}) cannot be streamed from {manifest.tars()[0]}")


@pytest.mark.parametrize("where", ["image", "header"])
def test_a_truncated_tar_names_the_first_sample_that_is_lost(copy, where):
    rows = np.flatnonzero(copy.shard == 0)
    rows = rows[np.argsort(copy.offset[rows])]
    hit, at = int(rows[2]), int(copy.offset[rows[2]])
    os.truncate(copy.tars()[0], at + 100 if where == "image" else at - 700)
    reader = SequentialTarReader(copy, 2)
    reader.prefetch(iter([rows]))
    assert [reader.read(row) for row in rows[:2].tolist()] == plain(copy, rows[:2])
    with pytest.raises(UserError, match=rf"{name_of(copy, hit)} .*: check the tar"):
        reader.read(int(rows[3]))
    reader.close()
    assert not streaming()


def rewritten(path, change):
    """Rewrite a tar with `change(name, data)` applied to each member; None drops it."""
    with tarfile.open(path) as tar:
        members = [(m.name, tar.extractfile(m).read()) for m in tar]  # type: ignore
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            if (data := change(name, data)) is not None:
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


@pytest.mark.parametrize("fault", ["missing", "short", "long"])
def test_a_sample_that_is_missing_or_has_another_length_is_named(copy, fault):
    rows = np.flatnonzero(copy.shard == 0)
    hit = int(rows[1])
    change = {"missing": lambda data: None, "short": lambda data: data[:-1], "long": lambda data: data + b"x"}[fault]
    rewritten(copy.tars()[0], lambda name, data: change(data) if name == f"{copy.keys[hit]}.jpg" else data)
    reader = SequentialTarReader(copy, 2)
    cause = "is not in the tar" if fault == "missing" else r"has \d+ bytes, not \d+"
    with pytest.raises(UserError, match=rf"{name_of(copy, hit)} \(it {cause}\): check the tar"):
        streamed(reader, rows)
    reader.close()


def test_a_missing_or_foreign_tar_is_named(copy):
    rows, tar = np.flatnonzero(copy.shard == 0), copy.tars()[0]
    for cause in ("header", "No such file"):
        if cause == "No such file":
            tar.unlink()
        else:
            tar.write_bytes(b"no tar at all" * 1000)
        reader = SequentialTarReader(copy, 2)
        with pytest.raises(UserError, match=rf"{tar}.*{cause}"):
            streamed(reader, rows)
        reader.close()
