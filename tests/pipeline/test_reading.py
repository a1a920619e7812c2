"""Many samples are read in one call where a reader says where they lie; all else goes through its `read`."""

import os
import shutil

import numpy as np
import pytest

from viewstream.pipeline.choose import open_reader
from viewstream.pipeline.reading import Reading, as_bytes, known
from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.errors import UserError
from viewstream.shards.formats.read import TarReader
from viewstream.shards.manifest import Manifest


@pytest.mark.parametrize("name", ["webdataset", "ffcv", "folder"])
def test_a_task_gets_what_read_gives(built, name):
    rows = np.random.default_rng(0).permutation(len(built))
    with open_reader(name, built) as reader:
        reading = Reading(reader, rows)
        found = [known(data) for part in (range(0, 7), range(7, 8), range(8, len(rows))) for data in reading(part)]
        assert [as_bytes(data) for data in found] == [reader.read(row) for row in rows]
        assert all(isinstance(data, memoryview) for data in found) == (name != "folder")


def test_pixels_among_the_jpegs_of_a_beton_are_read_one_by_one(pets, tmp_path):
    raw = build(
        BuildOptions(source=pets, out=tmp_path / "raw", split="val", format=("ffcv",), raw_fraction=0.5, workers=1)
    )
    with open_reader("ffcv", raw) as reader:
        found = Reading(reader, np.arange(len(raw)))(range(len(raw)))
        kinds = {type(data) for data in found}
        assert kinds == {memoryview, np.ndarray}
        for row, data in enumerate(found):
            np.testing.assert_array_equal(np.asarray(data).reshape(-1), np.frombuffer(reader.read(row), np.uint8))


def test_samples_of_a_file_that_ends_too_soon_are_named_and_the_others_are_read(built, tmp_path):
    folder = tmp_path / "set"
    shutil.copytree(built.root, folder)
    manifest = Manifest.open(folder)
    with open_reader("webdataset", manifest) as reader:
        last = int(np.argmax(np.where(manifest.shard == manifest.shard[0], manifest.offset, -1)))
        os.truncate(manifest.tars()[manifest.shard[0]], int(manifest.offset[last]) + 10)
        found = Reading(reader, np.arange(len(manifest)))(range(len(manifest)))
        errors = [row for row, data in enumerate(found) if isinstance(data, UserError)]
        assert errors == [last]
        with pytest.raises(UserError, match=r"ends at byte .* the file is truncated"):
            known(found[last])


def test_a_reader_whose_read_was_written_anew_is_asked_for_each_sample(built):
    class Upside(TarReader):
        def read(self, row, field=""):
            return super().read(row, field)[::-1]

    class Told(Upside):
        def extents(self, rows):
            return super().extents(rows)

    rows = np.arange(4)
    with Upside(built) as own, Told(built) as told, TarReader(built) as plain:
        assert Reading(own, rows)(range(4)) == [plain.read(row)[::-1] for row in range(4)]
        assert [bytes(data) for data in Reading(told, rows)(range(4))] == [plain.read(row) for row in range(4)]
        plain.read = lambda row: b"another"
        assert Reading(plain, rows)(range(2)) == [b"another"] * 2
