"""The source that a set kept: which folder serves, and what has changed there is named."""

import shutil

import pytest

from viewstream.pipeline.readers.folder import open_reader
from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.errors import UserError
from viewstream.shards.plain import plain

from ..zoo import kept


@pytest.fixture
def lent(usual, tmp_path):
    """A copy of `usual` to change, and a set built of it."""
    source = shutil.copytree(usual, tmp_path / "lent")
    return source, kept(source, tmp_path / "set")


def test_the_folder_of_a_half_or_of_a_subset_serves_as_well(usual, tmp_path):
    part = build(BuildOptions(source=usual / "train", out=tmp_path / "a", keep=True, format=("webdataset",), workers=1))
    whole, half = (open_reader(part, str(folder)) for folder in (usual, usual / "train"))
    assert [whole.read(row) for row in range(len(part))] == [half.read(row) for row in range(len(part))]


def test_a_set_of_shrunk_pictures_is_refused_with_the_command_whatever_the_source(usual, tmp_path):
    made = build(BuildOptions(source=usual, out=tmp_path / "out", format=("webdataset",), workers=1))
    with pytest.raises(UserError, match=r"holds webdataset, not folder: build it with .*--format folder"):
        open_reader(made, str(usual))


def test_a_set_with_pictures_that_the_build_made_plain_is_refused_and_they_are_counted(zoo, tmp_path):
    with pytest.raises(UserError, match=r"other images of some \(4 cmyk, 4 grey, .*8 rotated.*--format folder"):
        open_reader(kept(zoo, tmp_path / "out"), str(zoo))


def test_a_kept_set_asks_for_its_source_by_name(usual_kept):
    with pytest.raises(UserError, match=r"not folder, but .* --source, or build it with .*--format folder"):
        open_reader(usual_kept)


@pytest.mark.parametrize("where", ["elsewhere", "s3://bucket/usual"])
def test_a_source_that_is_not_there_is_named(usual_kept, tmp_path, where):
    source = where if "://" in where else str(tmp_path / where)
    with pytest.raises(UserError, match=rf"{where} has no train/\w+/.* name another --source"):
        open_reader(usual_kept, source)


def test_files_of_another_size_are_counted_when_the_door_is_opened(lent):
    source, made = lent
    first, second, third = sorted(made.strings("source")[5:8], key=made.strings("source").index)
    (source / "train" / first).unlink()
    for name in (second, third):
        (source / "train" / name).write_bytes(b"another picture")
    with pytest.raises(UserError, match=rf"3 of the 36 files under .*train.* the first {first}: .*--format folder"):
        open_reader(made, str(source))


def test_a_file_of_the_same_size_and_other_bytes_is_named_when_it_is_first_read(lent):
    source, made = lent
    path = source / "train" / made.strings("source")[7]
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    reader = open_reader(made, str(source))
    assert reader.read(6)
    for _ in range(2):
        with pytest.raises(UserError, match=rf"{path} has changed since the set was built: .*--format folder"):
            reader.read(7)


def test_a_file_that_goes_while_the_door_is_open_is_named(lent):
    source, made = lent
    reader, pictures = open_reader(made, str(source)), open_reader(plain(source))
    path = source / "train" / made.strings("source")[7]
    path.unlink()
    for one in (reader, pictures):
        with pytest.raises(UserError, match=rf"{path}.*No such file"):
            one.read(7)
