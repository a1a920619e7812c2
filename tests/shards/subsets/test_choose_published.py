"""Published lists and class sets are chosen exactly; an error names the files that a source lacks."""

import numpy as np
import pytest

from viewstream.shards.errors import UserError
from viewstream.shards.lists import parse, read
from viewstream.shards.subsets.choose import split_of, subset
from viewstream.shards.subsets.fetch import blob
from viewstream.shards.subsets.options import SubsetOptions
from viewstream.shards.subsets.published import CLASSSETS, PUBLISHED

from .named import named, paths_of

pytestmark = pytest.mark.usefixtures("no_lists")
LISTED = [name for name in PUBLISHED if name != "lt"]  # the real lists at hand do not include lt


@pytest.fixture(scope="module")
def listed(shared):
    """{name: paths of that real list}."""
    files = {name: PUBLISHED[name].file for name in LISTED}
    return {name: parse(read(shared / f"lists/{file}.gz")[0], file)[0] for name, file in files.items()}


@pytest.fixture(scope="module")
def imagenet(shared, listed):
    """{split: source of all images in the real lists, with ImageNet's classes}."""
    wnids = [line.strip("/") for line in (shared / "lists/imagenet_clsfull.txt").read_text().split()]
    paths = {"train": set(), "val": set()}
    for name, images in listed.items():
        paths[PUBLISHED[name].split[0]].update(images)
    return {split: named(wnids, sorted(images), split) for split, images in paths.items()}


@pytest.mark.parametrize("name", LISTED)
def test_a_published_list_is_chosen_exactly(name, imagenet, listed, shared):
    want = PUBLISHED[name]
    source = imagenet[split_of(name, None)[0]]
    part = subset(source, SubsetOptions(name, lists=shared / "lists"), 0)
    counts = np.bincount(part.label)
    assert (counts.sum(), counts.max(), counts.min()) == (want.lines, want.largest, want.smallest)
    assert paths_of(source, part) == set(listed[name])
    sha256 = read(shared / f"lists/{want.file}.gz")[1]
    assert part.origin == {"name": name, "from": "list", "file": want.file, "sha256": sha256}
    assert (part.label == source.label[part.rows]).all()
    assert (np.diff(part.rows) > 0).all()


def test_a_class_set_combines_with_a_list(imagenet, shared):
    source = imagenet["train"]
    choices = [SubsetOptions("lt-val", classes=name, lists=shared / "lists") for name in ("clsset2", "clsset2_comp")]
    halves = [subset(source, choice, 0) for choice in choices]
    for half in halves:
        assert len(half.rows) == 10_000
        assert len(half.classes) == 500
        assert all(
            half.classes[c] == source.paths[row].partition("/")[0] for row, c in zip(half.rows, half.label, strict=True)
        )
    assert halves[0].origin["classes"]["file"] == "imagenet_clsset2.txt"


def test_a_class_set_is_the_same_by_list_and_by_rule(imagenet, shared):
    for name in CLASSSETS:
        listed = subset(imagenet["val"], SubsetOptions(name, lists=shared / "lists"), 0)
        drawn = subset(imagenet["val"], SubsetOptions(name, draw_subset=True), 0)
        assert listed.classes == drawn.classes
        assert (listed.rows == drawn.rows).all()
        assert (listed.label == drawn.label).all()


def test_the_published_draw_needs_the_long_tailed_list(imagenet, listed, shared, monkeypatch, tmp_path, capsys):
    source = imagenet["train"]
    (tmp_path / "imagenet_longtail_val.txt").write_bytes(read(shared / "lists/imagenet_longtail_val.txt.gz")[0])
    choice = SubsetOptions("lt0", draw_subset="release", lists=tmp_path)
    with pytest.raises(UserError, match=r"has no imagenet_longtail_train\.txt"):
        subset(source, choice, 0)
    tail = read(shared / "lists/imagenet_lt8_train.txt.gz")[0]  # in place of lt: about as many images, long-tailed too
    replaced = PUBLISHED["lt"]._replace(blob=blob(tail), lines=115_852, largest=857, smallest=10)
    monkeypatch.setitem(PUBLISHED, "lt", replaced)
    (tmp_path / "ImageNet_LT_train.txt").write_bytes(tail)
    part = subset(source, choice, 0)
    assert np.bincount(part.label).tolist() == [115] * 1000
    assert not paths_of(source, part) & set(listed["lt-val"])
    assert [entry["file"] for entry in part.origin["lists"]] == [
        "imagenet_longtail_train.txt",
        "imagenet_longtail_val.txt",
    ]
    assert "not 1,281,167" in part.origin["note"]
    assert part.origin["note"] in capsys.readouterr().err


def test_missing_files_are_named_in_the_error_and_can_be_allowed(imagenet, shared):
    whole = imagenet["val"]
    short = named(list(whole.classes), [p for p in whole.paths if not p.startswith("n01440764")], "val")
    choice = SubsetOptions("lt-test", lists=shared / "lists")
    with pytest.raises(UserError, match=r"made lacks 50 of the 50000 files of .*: n01440764/.*, \.\.\.; .*--allow-mis"):
        subset(short, choice, 0)
    part = subset(short, SubsetOptions("lt-test", lists=shared / "lists", allow_missing=True), 0)
    assert (len(part.rows), len(part.missing)) == (49_950, 50)
    assert len(part.classes) == 1000  # one of them is empty
    with pytest.raises(UserError, match="complete the source"):
        subset(
            named(list(whole.classes), [], "val"),
            SubsetOptions("lt-test", lists=shared / "lists", allow_missing=True),
            0,
        )
