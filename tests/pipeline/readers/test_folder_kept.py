"""Reading a set from its kept source: which folder fits, and which change of a file is named."""

import shutil

import pytest

from viewstream.pipeline.readers.folder import open_reader
from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.errors import UserError
from viewstream.shards.plain import plain

from ..zoo import kept


@pytest.fixture
def copied(usual, tmp_path):
    """A copy of `usual` to change, and a set built from it."""
    source = shutil.copytree(usual, tmp_path / "copied")
    return source, kept(source, tmp_path / "set")


def test_the_root_and_the_split_folder_of_a_source_both_fit(usual, tmp_path):
    part = build(BuildOptions(source=usual / "train", out=tmp_path / "a", keep=True, format=("webdataset",), workers=1))
    root, split = (open_reader(part, str(folder)) for folder in (usual, usual / "train"))
    assert [root.read(row) for row in range(len(part))] == [split.read(row) for row in range(len(part))]


def test_a_set_of_resized_images_is_refused_for_any_source(usual, tmp_path):
    made = build(BuildOptions(source=usual, out=tmp_path / "out", format=("webdataset",), workers=1))
    with pytest.raises(UserError, match=r"holds webdataset, not folder: build it with .*--format folder"):
        open_reader(made, str(usual))


def test_a_set_with_images_that_the_build_changed_is_refused_with_their_counts(zoo, tmp_path):
    counts = ", ".join(("4 cmyk", "4 grey"))
    with pytest.raises(UserError, match=rf"changed some images \({counts}, .*8 rotated.*--format folder"):
        open_reader(kept(zoo, tmp_path / "out"), str(zoo))


def test_a_kept_set_asks_for_its_source(usual_kept):
    with pytest.raises(UserError, match=r"not folder, but .* --source, or build it with .*--format folder"):
        open_reader(usual_kept)


@pytest.mark.parametrize("where", ["elsewhere", "s3://bucket/usual"])
def test_a_missing_source_is_named(usual_kept, tmp_path, where):
    source = where if "://" in where else str(tmp_path / where)
    with pytest.raises(UserError, match=rf"{where} has no train/\w+/.* name another --source"):
        open_reader(usual_kept, source)


def test_files_of_another_size_are_counted_when_the_reader_is_opened(copied):
    source, made = copied
    first, second, third = sorted(made.strings("source")[5:8], key=made.strings("source").index)
    (source / "train" / first).unlink()
    for name in (second, third):
        (source / "train" / name).write_bytes(b"another image")
    with pytest.raises(UserError, match=rf"3 of the 36 files under .*train.* the first {first}: .*--format folder"):
        open_reader(made, str(source))


def test_a_file_with_other_bytes_of_the_same_size_is_named_when_it_is_first_read(copied):
    source, made = copied
    path = source / "train" / made.strings("source")[7]
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    reader = open_reader(made, str(source))
    assert reader.read(6)
    for _ in range(2):
        with pytest.raises(UserError, match=rf"{path} has changed since the set was built: .*--format folder"):
            reader.read(7)


def test_a_file_that_is_removed_while_the_reader_is_open_is_named(copied):
    source, made = copied
    readers = open_reader(made, str(source)), open_reader(plain(source))
    path = source / "train" / made.strings("source")[7]
    path.unlink()
    for reader in readers:
        with pytest.raises(UserError, match=rf"{path}.*No such file"):
            reader.read(7)
