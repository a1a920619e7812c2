"""The description of a set: what is written is what opens, and what is not whole does not."""

import json

import numpy as np
import pytest

from viewstream.shards.building.build import build
from viewstream.shards.care.summary import summary
from viewstream.shards.errors import UserError
from viewstream.shards.manifest import Manifest, newest, uid_of


def test_a_manifest_opens_as_it_was_written(options):
    made = build(options())
    again = Manifest.open(made.root)
    assert again.info == made.info
    assert len(again) == 40
    for name in ("uid", "label", "height", "width", "bytes", "shard", "offset", "beton"):
        np.testing.assert_array_equal(getattr(again, name), getattr(made, name))
    assert again.hw.shape == (40, 2)
    assert len(set(again.keys)) == 40


def test_a_uid_is_the_keys_own_and_never_changes():
    assert uid_of("n01440764/n01440764_18") == 17523703844427814674


def test_a_half_built_damaged_or_foreign_folder_does_not_open(options, tmp_path):
    with pytest.raises(UserError, match=r"does not exist: .python tools/build_shards.py"):
        Manifest.open(tmp_path / "nothing")
    made = build(options())
    page = made.root / "dataset.json"
    text = page.read_text()
    for broken, words in [
        (text[:100], "is damaged"),
        (text.replace('"version": 1', '"version": 9'), "has version 9, this code reads 1"),
        (text.replace('"samples": 40,', '"samples": 41,', 1), "has 40 rows, dataset.json says 41"),
    ]:
        page.write_text(broken)
        with pytest.raises(UserError, match=words):
            Manifest.open(made.root)
    page.unlink()
    with pytest.raises(UserError, match="not a complete data set"):
        Manifest.open(made.root)


def test_a_set_says_which_format_it_lacks(options):
    made = build(options(format=("webdataset",)))
    made.require("webdataset")
    with pytest.raises(UserError, match=r"holds webdataset, not ffcv: build it with .*--format ffcv"):
        made.require("ffcv")


def test_an_unlabeled_set_is_built_and_refuses_what_needs_labels(tmp_path, jpeg, options):
    (tmp_path / "flat").mkdir()
    for n in range(3):
        (tmp_path / "flat" / f"some image {n}.jpg").write_bytes(jpeg(n))
    made = build(options(source=tmp_path / "flat"))
    assert made.label.tolist() == [-1, -1, -1]
    assert (made.info.classes, made.info.counts) == ((), ())
    assert sorted(made.keys) == [f"some image {n}" for n in range(3)]
    assert "none: unlabeled" in summary(made)
    with pytest.raises(UserError, match=r"3 of the 3 samples of .* are unlabeled: kNN needs labels"):
        made.require_labels("kNN")


def test_the_newest_complete_set_of_a_split_is_found(options, tmp_path, tree, grow):
    grow(tree, {"cat": 2, "dog": 2}, split="val")
    with pytest.raises(UserError, match="no complete train set"):
        newest(tmp_path / "sets")
    for name, changes in (("a", {}), ("b", {}), ("c", {"split": "val"})):
        build(options(out=tmp_path / "sets" / name, **changes))
    (tmp_path / "sets" / "half").mkdir()
    assert newest(tmp_path / "sets").name == "b"
    assert newest(tmp_path / "sets", "val").name == "c"


def test_dataset_json_is_for_people_too(options):
    page = json.loads((build(options()).root / "dataset.json").read_text())
    assert page["classes"] == ["cat", "dog", "eel", "fox"]
    assert page["tool"].startswith("viewstream ")
    assert [f["file"] for f in page["files"]] == ["pets-full-train-000000.tar", "pets-full-train.beton"]
