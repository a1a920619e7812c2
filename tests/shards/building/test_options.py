"""Options of a build: the sizes and the order that they give, and values that are refused before writing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from viewstream.shards.building.build import build
from viewstream.shards.building.layout import bytes_of
from viewstream.shards.building.options import encoding_of
from viewstream.shards.care.copies import built_encoding
from viewstream.shards.care.summary import summary
from viewstream.shards.errors import UserError
from viewstream.shards.subsets.options import SubsetOptions


@pytest.mark.parametrize("side", [{"max_side": 40}, {"short_side": 40}])
def test_images_shrink_to_the_given_side_and_never_grow(side, options, tree, jpeg):
    (tree / "train" / "cat" / "cat_0.JPEG").write_bytes(jpeg(1, 20, 30))
    made = build(options(**side))
    sides = made.hw.max(1) if "max_side" in side else made.hw.min(1)
    small = made.keys.index("cat/cat_0")
    assert made.hw[small].tolist() == [20, 30]
    assert set(np.delete(sides, small).tolist()) == {40}


@pytest.mark.parametrize("check", ["headers", "decode"])
def test_keep_stores_the_files_own_bytes(check, options, tree):
    made = build(options(keep=True, check=check, format=("folder",)))
    assert made.info.report["check"] == check
    assert made.info.kind == "kept"
    for row, path in enumerate(made.strings("source")):
        assert made.path(row).read_bytes() == (tree / "train" / path).read_bytes()
    assert (made.shard == -1).all()
    assert (made.beton == -1).all()
    assert not made.tars()


def test_the_resolution_of_colors_is_recorded_for_repairs(options, tmp_path):
    for number, changes in enumerate(({}, {"quality": 100, "subsampling": "444"})):
        chosen = options(out=tmp_path / str(number), **changes)
        made = build(chosen)
        assert built_encoding(made) == replace(encoding_of(chosen), check=made.info.report["check"])
        assert ("subsampling" in made.info.encoding) == (number == 1)


def test_strict_refuses_what_a_build_would_leave_out(options, tree, capsys):
    assert "passed_over" not in build(options(strict=True)).info.report
    (tree / "train" / "cat" / "notes.txt").write_text("no image")
    (tree / "train" / "cat" / "Thumbs.db").write_text("no image")
    (tree / "train" / "empty").mkdir()
    (tree / "pets.tar").write_bytes(bytes(10240))
    with pytest.raises(
        UserError, match=r"leaves out \(.*1 files that are no images: cat/notes\.txt; .*pets\.tar\): remove"
    ):
        build(options(strict=True, out=tree / "new"))
    made = build(options(out=tree / "new"))
    assert {line["reason"].partition(" beside")[0]: line["names"] for line in made.info.report["passed_over"]} == {
        "hidden or system files and folders": ["cat/Thumbs.db"],
        "files that are no images": ["cat/notes.txt"],
        "folders without an image": ["empty"],
        ".tar files": ["pets.tar"],
    }
    last = summary(made).partition("\n\n")[0].splitlines()[-4:]
    assert all(line.split()[:3] == ["passed", "over", "1"] for line in last)


def test_the_val_split_is_built_by_itself(options, tree, grow):
    grow(tree, {"cat": 3, "dog": 2, "eel": 1, "fox": 1}, split="val")
    made = build(options(split="val"))
    assert made.info.split == "val"
    assert made.info.name == "pets-full-val"
    assert len(made) == 7


def test_the_summary_counts_the_classes_that_val_lacks(options, tree, grow):
    grow(tree, {"dog": 2, "fox": 1}, split="val")
    made = build(options(split="val"))
    assert (made.info.classes, made.info.counts) == (("cat", "dog", "eel", "fox"), (0, 2, 0, 1))
    assert "classes  2 of 4, samples per class: 1 to 2" in summary(made)


def test_which_tar_holds_an_image_does_not_depend_on_encoded_sizes(options, tmp_path):
    shards = []
    for quality in (20, 95):
        made = build(options(quality=quality, out=tmp_path / f"q{quality}", shard_size="50KB"))
        shards.append(dict(zip(made.keys, made.shard.tolist(), strict=True)))
    assert shards[0] == shards[1]


def test_storage_order_mixes_the_classes_and_follows_the_seed_not_the_subset(options, tmp_path):
    whole = build(options(keep=True))
    assert np.abs(np.diff(whole.label)).astype(bool).mean() > 0.5
    other = build(options(keep=True, seed=1, out=tmp_path / "other"))
    assert whole.keys != other.keys
    part = build(options(keep=True, out=tmp_path / "part"), SubsetOptions("lt6", draw_subset=True))
    chosen = set(part.keys)
    assert 4 <= len(chosen) < 40
    assert part.keys == [key for key in whole.keys if key in chosen]
    assert part.info.subset["from"] == "draw"


def test_shard_sizes_are_read_with_units():
    assert [bytes_of(text) for text in ("256MB", "1 gb", "7K", "512")] == [256_000_000, 10**9, 7000, 512]
    with pytest.raises(UserError, match="write it like 256MB"):
        bytes_of("many")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": ()}, "names nothing to write"),
        ({"quality": 0}, "take 1 to 100"),
        ({"max_side": 0}, "leave no pixels"),
        ({"short_side": -1}, "leave no pixels"),
        ({"raw_fraction": 1.5}, "take 0 to 1"),
        ({"shard_size": "0MB"}, "is not a size"),
        ({"source": Path("nowhere")}, "nowhere/train does not exist: a source is laid out as"),
    ],
)
def test_options_that_cannot_work_are_refused_before_anything_is_written(changes, message, options, tmp_path):
    with pytest.raises(UserError, match=message):
        build(options(**changes))
    assert not (tmp_path / "out").exists()


def test_a_complete_set_and_foreign_folders_are_left_alone(options, tmp_path, digests):
    made = build(options())
    before = digests(made.root)
    with pytest.raises(UserError, match="already holds a complete data set: name another --out, or remove"):
        build(options(quality=50))
    assert digests(made.root) == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("dear")
    with pytest.raises(UserError, match="holds files that no build wrote"):
        build(options(out=tmp_path / "mine"))
    with pytest.raises(UserError, match="is a file: name a folder"):
        build(options(out=tmp_path / "mine" / "thesis.tex"))
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "dear"
