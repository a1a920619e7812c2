"""Trees of images become sorted paths with unique keys; errors show the expected layout."""

import os

import numpy as np
import pytest

from viewstream.shards.errors import UserError
from viewstream.shards.manifest import uid_of
from viewstream.shards.sources.detect import open_source
from viewstream.shards.sources.flat import flat
from viewstream.shards.sources.imagefolder import imagefolder
from viewstream.shards.sources.source import LONGEST_KEY, key_of


def test_labels_number_the_sorted_folders_and_other_files_are_ignored(tree):
    (tree / "train" / "cat" / "notes.txt").write_text("no image")
    (tree / "train" / "cat" / ".hidden.jpg").write_text("no image")
    (tree / "train" / ".cache").mkdir()
    source = imagefolder(tree, "train")
    assert source.name == "pets"
    assert source.classes == ("cat", "dog", "eel", "fox")
    assert np.bincount(source.label).tolist() == [12, 10, 8, 10]
    assert source.paths[:3] == ["cat/cat_0.JPEG", "cat/cat_1.JPEG", "cat/cat_10.JPEG"]
    assert source.uids(np.array([2])).tolist() == [uid_of("cat/cat_10")]


@pytest.mark.parametrize(
    ("path", "key"),
    [("n01/n01_7.JPEG", "n01/n01_7"), ("a/b.c.d.png", "a/b_c_d"), ("a b/ü x.jpg", "a b/ü x"), ("v1.2/x.jpg", "v1.2/x")],
)
def test_a_key_is_class_and_stem_without_dots(path, key):
    assert key_of(path) == key


def test_a_long_name_gets_a_short_and_unique_key():
    keys = {key_of(f"class/{'ü' * 100}{n}.jpg") for n in range(50)}
    assert len(keys) == 50
    assert max(len(key.encode()) for key in keys) <= LONGEST_KEY


def test_two_files_with_the_same_key_are_refused(tree, jpeg):
    (tree / "train" / "dog" / "dog_3.jpg").write_bytes(jpeg(1))
    with pytest.raises(UserError, match=r"dog_3\.JPEG and .*dog_3\.jpg share the key dog/dog_3: rename"):
        imagefolder(tree, "train")


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_missing_or_empty_source_shows_the_expected_layout(split, tmp_path):
    (tmp_path / "val" / "cat").mkdir(parents=True)
    with pytest.raises(UserError, match=r"train/<class>/<image>\.JPEG"):
        imagefolder(tmp_path, split)


def test_a_single_class_is_a_warning(tmp_path, grow, capsys):
    imagefolder(grow(tmp_path, {"cat": 2}), "train")
    assert "one class only, cat" in capsys.readouterr().err


def test_an_archive_that_is_not_read_is_named_as_such(tmp_path):
    (tmp_path / "pets.zip").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"pets\.zip is a file of no kind that is read: unpack it if it is an archive"):
        open_source(str(tmp_path / "pets.zip"), "train")


def test_a_tree_without_splits_is_the_train_split(tree):
    whole = imagefolder(tree, "train")
    part = open_source(str(tree / "train"), "train")
    assert (part.name, part.classes, part.paths) == ("train", whole.classes, whole.paths)
    with pytest.raises(UserError, match=r"train/val does not exist: a source is laid out as .*train/<class>/"):
        open_source(str(tree / "train"), "val")


def test_images_without_class_folders_are_a_source_without_classes(tree, tmp_path):
    source = open_source(str(tree / "train" / "cat"), "train")
    assert (source.name, source.classes, len(source)) == ("cat", (), 12)
    assert source.label.tolist() == [-1] * 12
    assert source.paths[:3] == ["cat_0.JPEG", "cat_1.JPEG", "cat_10.JPEG"]
    assert source.reader.read(source.places[0]) == (tree / "train" / "cat" / "cat_0.JPEG").read_bytes()
    (tmp_path / "two").mkdir()
    (tree / "train" / "dog").rename(tmp_path / "two" / "val")
    assert flat(tmp_path / "two", "val").paths == open_source(str(tmp_path / "two"), "val").paths


def test_the_error_for_no_source_names_all_kinds(tmp_path):
    (tmp_path / "notes.md").write_text("nothing")
    for where in (tmp_path, tmp_path / "nowhere", tmp_path / "notes.md"):
        with pytest.raises(UserError, match=r"train/<class>/<image>\.JPEG .*or it is .*ILSVRC2012_img_train\.tar"):
            open_source(str(where), "train")


def test_a_file_name_that_is_not_text_is_refused(tree):
    with open(os.fsencode(tree / "train" / "cat") + b"/\xff.jpg", "wb"):
        pass
    with pytest.raises(UserError, match="is not UTF-8: rename it"):
        imagefolder(tree, "train")
