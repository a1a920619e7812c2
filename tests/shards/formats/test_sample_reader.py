"""What every reader inherits from SampleReader."""

import pytest

from viewstream.shards.formats.read import open_beton, open_folder, open_tar
from viewstream.shards.formats.reader import SampleReader


class ListReader(SampleReader):
    def __init__(self, samples):
        self.samples = samples

    def read(self, row):
        return self.samples[row]

    def locate(self, row):
        return f"row {row}"


def test_a_reader_needs_only_read_and_locate():
    with ListReader([b"a", b"b"]) as reader:
        reader.prefetch(iter([[1, 0]]))
        assert reader.read(1) == b"b"


def test_a_reader_without_read_or_locate_cannot_be_made():
    class NoRead(SampleReader):
        locate = ListReader.locate

    class NoLocate(SampleReader):
        read = ListReader.read

    for kind, name in ((NoRead, "read"), (NoLocate, "locate")):
        with pytest.raises(TypeError, match=f"abstract.*{name}"):
            kind()


def test_a_with_block_closes_the_reader_also_after_an_error():
    class Closing(ListReader):
        closed = False

        def close(self):
            self.closed = True

    reader = Closing([])
    with pytest.raises(IndexError), reader:
        reader.read(0)
    assert reader.closed


def test_the_readers_of_built_sets_work_as_context_managers(built):
    for opener in (open_tar, open_beton, open_folder):
        with opener(built) as reader:
            assert isinstance(reader, SampleReader)
            assert reader.read(3) == built.path(3).read_bytes()
        for file in getattr(getattr(reader, "files", None), "_files", []):
            assert file.closed
