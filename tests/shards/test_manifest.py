"""The description of a set: it opens as it was written, and only when the set is complete."""

import json

import numpy as np
import pytest

from viewstream.shards.building.build import build
from viewstream.shards.care.summary import summary
from viewstream.shards.errors import UserError
from viewstream.shards.info import newest
from viewstream.shards.manifest import Manifest, uid_of
from viewstream.shards.plain import plain

from ..pages import change_page


def test_a_manifest_opens_as_it_was_written(options):
    made = build(options())
    again = Manifest.open(made.root)
    assert again.info == made.info
    assert len(again) == 40
    for name in ("uid", "label", "height", "width", "bytes", "shard", "offset", "beton"):
        np.testing.assert_array_equal(getattr(again, name), getattr(made, name))
    assert again.hw.shape == (40, 2)
    assert len(set(again.keys)) == 40


def test_a_uid_depends_on_the_key_alone_and_never_changes():
    assert uid_of("n01440764/n01440764_18") == 17523703844427814674


def test_a_half_built_damaged_or_foreign_folder_does_not_open(options, tmp_path):
    with pytest.raises(UserError, match=r"does not exist: .python tools/build_shards.py"):
        Manifest.open(tmp_path / "nothing")
    made = build(options())
    page = made.root / "dataset.json"
    text = page.read_text()
    for broken, message in [
        (text[:100], "is damaged"),
        (text.replace('"version": 1', '"version": 9'), "has version 9, this code reads 1"),
        (text.replace('"samples": 40,', '"samples": 41,', 1), "is not as it was written; if you changed it"),
    ]:
        page.write_text(broken)
        with pytest.raises(UserError, match=message):
            Manifest.open(made.root)
    page.write_text(text)
    change_page(made.root, lambda page: page.update(samples=41))
    with pytest.raises(UserError, match=r"has 40 rows, dataset.json says 41"):
        Manifest.open(made.root)
    page.unlink()
    with pytest.raises(UserError, match="not a complete data set"):
        Manifest.open(made.root)


def test_a_set_names_the_format_that_it_lacks(options):
    made = build(options(format=("webdataset",)))
    made.require("webdataset")
    with pytest.raises(UserError, match=r"holds webdataset, not ffcv: build it with .*--format ffcv"):
        made.require("ffcv")


@pytest.mark.parametrize(("keep", "kind"), [(False, "encoded"), (True, "kept")])
def test_a_set_knows_how_its_images_got_their_bytes(keep, kind, options, tree):
    made = build(options(keep=keep))
    assert made.info.kind == Manifest.open(made.root).info.kind == kind
    assert made.take(np.arange(3), made.label[:3], made.info.classes).info.kind == kind
    assert "kind" not in json.loads((made.root / "dataset.json").read_text())
    assert plain(tree).info.kind == "plain"


def test_an_unlabeled_set_is_built_and_refused_where_labels_are_needed(tmp_path, jpeg, options):
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


def test_dataset_json_is_readable(options):
    page = json.loads((build(options()).root / "dataset.json").read_text())
    assert page["classes"] == ["cat", "dog", "eel", "fox"]
    assert page["tool"].startswith("viewstream ")
    assert [f["file"] for f in page["files"]] == ["pets-full-train-000000.tar", "pets-full-train.beton"]
