"""The images and labels by a list or a file of classes of the user's own."""

import numpy as np
import pytest

from viewstream.shards.errors import UserError
from viewstream.shards.subsets.choose import subset
from viewstream.shards.subsets.options import SubsetOptions

from .named import PETS, STREAM, paths_of

pytestmark = pytest.mark.usefixtures("no_lists")


def test_a_list_with_the_labels_of_the_source_keeps_its_classes(tmp_path):
    for text in ("train/dog/03.jpg 1\n/cat/00.jpg 0\n", "dog/03.jpg\ncat/00.jpg\n"):
        (tmp_path / "mine.txt").write_text(text)
        part = subset(PETS, SubsetOptions(str(tmp_path / "mine.txt")), 0)
        assert paths_of(PETS, part) == {"dog/03.jpg", "cat/00.jpg"}
        assert part.label.tolist() == [0, 1]
        assert part.classes == PETS.classes
        assert (part.origin["name"], part.origin["file"], part.origin["labels"]) == ("mine", "mine.txt", "source")
        assert len(part.origin["sha256"]) == 64


def test_labels_of_a_list_become_the_classes_if_they_differ(tmp_path):
    (tmp_path / "mine").write_text("dog/03.jpg 0\ncat/00.jpg 4\n")
    part = subset(PETS, SubsetOptions(str(tmp_path / "mine")), 0)
    assert part.classes == ("0", "1", "2", "3", "4")
    assert (part.label.tolist(), part.label.dtype) == ([4, 0], np.int32)
    assert part.origin["labels"] == "list"
    (tmp_path / "streams").write_text("0/3.jpg 1\n0/1.jpg 0\n")
    assert subset(STREAM, SubsetOptions(str(tmp_path / "streams")), 0).label.tolist() == [0, 1]
    (tmp_path / "paths").write_text("0/3.jpg\n")
    assert subset(STREAM, SubsetOptions(str(tmp_path / "paths")), 0).classes == ()


def test_a_file_of_classes_leaves_out_the_others(tmp_path):
    (tmp_path / "two").write_text("/eel\n/cat\n")
    part = subset(PETS, SubsetOptions(classes=str(tmp_path / "two")), 0)
    assert part.classes == ("cat", "eel")
    assert np.bincount(part.label).tolist() == [10, 3]
    (tmp_path / "none").write_text("ant\n")
    with pytest.raises(UserError, match="names 1 class not among the 3"):
        subset(PETS, SubsetOptions(classes=str(tmp_path / "none")), 0)
    (tmp_path / "mine").write_text("dog/03.jpg\n")
    with pytest.raises(UserError, match="no images of made are left: check --subset"):
        subset(PETS, SubsetOptions(str(tmp_path / "mine"), classes=str(tmp_path / "two")), 0)
