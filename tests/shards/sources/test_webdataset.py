"""Samples of WebDataset tars: classes, labels, and errors that name the sample."""

import json

import numpy as np
import pytest

from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.errors import UserError
from viewstream.shards.sources.detect import open_source
from viewstream.shards.sources.samples import samples
from viewstream.shards.sources.storage import storage
from viewstream.shards.sources.wanted import Wanted
from viewstream.shards.sources.webdataset import webdataset

from ..archives import tar


def sample(key, label=None, note=None, suffix="jpg"):
    """Members (name, bytes) of a sample: the image, `.cls` for a label, `.json` for a note."""
    members = [(f"{key}.{suffix}", key.encode(errors="replace"))]
    members += [] if label is None else [(f"{key}.cls", str(label).encode())]
    return members + ([] if note is None else [(f"{key}.json", json.dumps(note).encode())])


def test_class_names_come_from_dataset_json_folders_or_numbers(tmp_path):
    folders = [*sample("cat/1", 0), *sample("dog/1", 1, suffix="PNG"), *sample("dog/2.x", 1)]
    (tmp_path / "a.tar").write_bytes(tar(folders))
    source = webdataset(tmp_path / "a.tar", "val")
    assert source.classes == ("cat", "dog")
    assert source.paths[:2] == ["cat/1.jpg", "dog/1.PNG"]
    (tmp_path / "a.tar").write_bytes(tar([*sample("x/1", 0), *sample("x/2", None, {"label": 2})]))
    assert webdataset(tmp_path / "a.tar", "val").classes == ("0", "1", "2")
    (tmp_path / "dataset.json").write_text(json.dumps({"classes": ["p", "q", "r"], "split": "val"}))
    assert webdataset(tmp_path / "a.tar", "val").classes == ("p", "q", "r")
    with pytest.raises(UserError, match="this is the val split: take --split val"):
        webdataset(tmp_path / "a.tar", "train")
    (tmp_path / "dataset.json").write_text(json.dumps({"classes": ["p"]}))
    with pytest.raises(UserError, match=r"has a label 2, its dataset\.json names 1 class"):
        webdataset(tmp_path / "a.tar", "val")


def test_a_label_may_be_in_the_json(tmp_path, jpeg):
    note = {"label": 1, "width": 3}
    (tmp_path / "x.tar").write_bytes(tar([("k.jpg", jpeg(0, 16, 16)), ("k.json", json.dumps(note).encode())]))
    assert open_source(str(tmp_path / "x.tar"), "val").label.tolist() == [1]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([*sample("x/1", 0), *sample("x/2")], "1 of 2 images in .* have no label: give all of them one, or none"),
        ([*sample("x/1", "cat")], "the label of x/1 cannot be read"),
        ([*sample("x/1", 10**30)], "the label of x/1 cannot be read"),
        ([*sample("x/1", 0), ("x/1.png", b"")], r"several images of key x/1 \(jpg and png\)"),
        ([*sample("x/1", 0), *sample("x/2", 0), *sample("x/1", 0)], "share the key x/1"),
        ([*sample("../../x/1", 0)], "leads out of the source"),
        ([("x.txt", b"")], "holds no images"),
        ([("x/1.jpg", b""), ("x/1.json", b"[" * 300_000)], "the label of x/1 cannot be read"),
        ([*sample("x/\udcff", 0)], "is not UTF-8"),
    ],
)
def test_invalid_samples_are_named_in_the_error(members, message, tmp_path):
    (tmp_path / "a.tar").write_bytes(tar(members))
    with pytest.raises(UserError, match=message):
        webdataset(tmp_path / "a.tar", "train")


@pytest.mark.parametrize("info", ["[" * 100_000, "[]", '{"classes": 5}', '{"classes": "ab"}', '{"files": [null]}'])
def test_a_damaged_dataset_json_is_refused(info, tmp_path):
    (tmp_path / "a.tar").write_bytes(tar(sample("x/1", 0)))
    (tmp_path / "dataset.json").write_text(info)
    with pytest.raises(UserError, match=r"dataset\.json is damaged .*: remove it to read the tars without"):
        webdataset(tmp_path / "a.tar", "train")


def test_a_line_break_in_a_folder_name_is_part_of_the_key(tmp_path):
    (tmp_path / "a.tar").write_bytes(tar(sample("x\ny/1", 0)))
    assert webdataset(tmp_path / "a.tar", "train").paths == ["x\ny/1.jpg"]


def test_equal_keys_in_two_tars_are_named_with_their_tars(tmp_path):
    for n in range(3):
        (tmp_path / f"t-{n}.tar").write_bytes(tar(sample(f"{n % 2:04d}", 0)))
    with pytest.raises(UserError, match=r"0000\.jpg in t-0\.tar and 0000\.jpg in t-2\.tar share the key 0000: rename"):
        webdataset(tmp_path, "train")


def test_samples_without_labels_are_a_source_without_classes(tmp_path):
    (tmp_path / "a.tar").write_bytes(tar([*sample("2"), *sample("1")]))
    source = webdataset(tmp_path, "train")
    assert (source.classes, source.paths, source.label.tolist()) == ((), ["1.jpg", "2.jpg"], [-1, -1])


@pytest.mark.parametrize(
    ("keys", "classes", "want"),
    [
        (["dog/1", "cat/1", "cat/2"], ("cat", "dog"), [0, 0, 1]),
        (["x/dog/a/1", "x/dog/b/1", "x/cat/1"], ("cat", "dog"), [0, 1, 1]),
        (["1/a", "10/a", "2/a", "2/b"], ("1", "10", "2"), [0, 1, 2, 2]),
        (["x/1", "x/2"], (), [-1, -1]),
        (["x/1", "x/y/2", "x/z/3", "x/z/4"], (), [-1] * 4),
        (["a/1", "b/2", "c/3"], (), [-1] * 3),
    ],
)
def test_folders_of_keys_are_the_classes_of_images_without_labels(keys, classes, want, tmp_path, capsys):
    (tmp_path / "a.tar").write_bytes(tar([m for key in keys for m in sample(key)]))
    source = webdataset(tmp_path, "train")
    assert (source.classes, source.label.tolist()) == (classes, want)
    assert ("are taken for classes" in capsys.readouterr().err) == bool(classes)
    assert webdataset(tmp_path, "train", Wanted(label="none")).classes == ()


def test_tars_of_other_splits_are_ignored_and_a_missing_one_is_an_error(tmp_path):
    for name in ("x-train-0.tar", "x-train-1.tar", "x-validation-0.tar"):
        (tmp_path / name).write_bytes(tar(sample(f"k/{name[:-4]}", 0)))
    assert webdataset(tmp_path, "train").paths == ["k/x-train-0.jpg", "k/x-train-1.jpg"]
    assert webdataset(tmp_path, "val").paths == ["k/x-validation-0.jpg"]
    with pytest.raises(UserError, match=r"x-train-2\.tar is not there"):
        webdataset(tmp_path / "x-train-{0..2}.tar", "train")


def test_a_built_set_is_a_source_whose_samples_are_those_of_the_manifest(tree, tmp_path):
    want = build(BuildOptions(source=tree, out=tmp_path / "set", format=("webdataset",), workers=1))
    source = open_source(str(want.root), "train")
    assert source.classes == want.info.classes
    assert sorted(source.uids(np.arange(len(source))).tolist()) == sorted(want.uid.tolist())
    found = list(samples(storage(str(want.root)), [p.name for p in want.tars()]))
    assert [s.key for s in found] == want.keys
    assert [s.label for s in found] == want.label.tolist()
    assert [(s.tar, s.offset, s.length) for s in found] == list(
        zip(want.shard.tolist(), want.offset.tolist(), want.bytes.tolist(), strict=True)
    )
