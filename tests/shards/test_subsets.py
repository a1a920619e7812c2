"""What the words of a choice give: which pictures, which labels, and what is said when it cannot be."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from viewstream.shards.errors import UserError
from viewstream.shards.source import Source
from viewstream.shards.sources.imagefolder import Files
from viewstream.shards.subsets.choice import Choice
from viewstream.shards.subsets.lists import parse, read
from viewstream.shards.subsets.part import Part, split_of, subset
from viewstream.shards.subsets.published import CLASSSETS, PUBLISHED, blob

LISTED = [name for name in PUBLISHED if name != "lt"]  # not among the real lists


def made(classes: list[str], paths: list[str], split: str = "train") -> Source:
    """A source of names only."""
    place = {name: c for c, name in enumerate(classes)}
    label = np.array([place.get(path.partition("/")[0], -1) for path in paths], np.int32)
    return Source("made", split, Files(Path("nowhere")), tuple(classes), label, paths, paths)


def names(source: Source, part: Part) -> set[str]:
    return {source.paths[row] for row in part.rows}


@pytest.fixture(autouse=True)
def no_lists(monkeypatch):
    monkeypatch.delenv("VIEWSTREAM_LISTS", raising=False)


@pytest.fixture(scope="module")
def pets():
    """Three classes of 10, 6 and 3."""
    counts = {"cat": 10, "dog": 6, "eel": 3}
    return made(list(counts), [f"{name}/{n:02d}.jpg" for name, count in counts.items() for n in range(count)])


@pytest.fixture(scope="module")
def stream():
    """Nine unlabelled pictures."""
    return made([], [f"0/{n}.jpg" for n in range(9)])


@pytest.fixture(scope="module")
def listed(shared):
    """Name -> the paths of that real list."""
    files = {name: PUBLISHED[name].file for name in LISTED}
    return {name: parse(read(shared / f"lists/{file}.gz")[0], file)[0] for name, file in files.items()}


@pytest.fixture(scope="module")
def imagenet(shared, listed):
    """Split -> every picture that some real list names, in ImageNet's classes."""
    wnids = [line.strip("/") for line in (shared / "lists/imagenet_clsfull.txt").read_text().split()]
    paths = {"train": set(), "val": set()}
    for name, some in listed.items():
        paths[PUBLISHED[name].split[0]].update(some)
    return {split: made(wnids, sorted(some), split) for split, some in paths.items()}


# -------------------------------------------------------------------------------------------------- published lists


@pytest.mark.parametrize("name", LISTED)
def test_a_published_list_is_chosen_exactly(name, imagenet, listed, shared):
    want = PUBLISHED[name]
    source = imagenet[split_of(name, None)[0]]
    part = subset(source, Choice(name, lists=shared / "lists"), 0)
    counts = np.bincount(part.label)
    assert (counts.sum(), counts.max(), counts.min()) == (want.lines, want.most, want.least)
    assert names(source, part) == set(listed[name])
    sha256 = read(shared / f"lists/{want.file}.gz")[1]
    assert part.origin == {"name": name, "from": "list", "file": want.file, "sha256": sha256}
    assert (part.label == source.label[part.rows]).all()
    assert (np.diff(part.rows) > 0).all()


def test_a_class_set_combines_with_a_list(imagenet, shared):
    source = imagenet["train"]
    words = [Choice("lt-val", classes=name, lists=shared / "lists") for name in ("clsset2", "clsset2_comp")]
    halves = [subset(source, choice, 0) for choice in words]
    for half in halves:
        assert len(half.rows) == 10_000
        assert len(half.classes) == 500
        assert all(
            half.classes[c] == source.paths[row].partition("/")[0] for row, c in zip(half.rows, half.label, strict=True)
        )
    assert halves[0].origin["classes"]["file"] == "imagenet_clsset2.txt"


def test_a_class_set_is_the_same_by_list_and_by_rule(imagenet, shared):
    for name in CLASSSETS:
        listed = subset(imagenet["val"], Choice(name, lists=shared / "lists"), 0)
        drawn = subset(imagenet["val"], Choice(name, draw_subset=True), 0)
        assert listed.classes == drawn.classes
        assert (listed.rows == drawn.rows).all()
        assert (listed.label == drawn.label).all()


def test_the_published_draw_needs_the_long_tails_list(imagenet, listed, shared, monkeypatch, tmp_path, capsys):
    source = imagenet["train"]
    (tmp_path / "imagenet_longtail_val.txt").write_bytes(read(shared / "lists/imagenet_longtail_val.txt.gz")[0])
    choice = Choice("lt0", draw_subset="release", lists=tmp_path)
    with pytest.raises(UserError, match=r"has no imagenet_longtail_train\.txt"):
        subset(source, choice, 0)
    tail = read(shared / "lists/imagenet_lt8_train.txt.gz")[0]  # stands for it: as long, as large a tail
    stand_in = PUBLISHED["lt"]._replace(blob=blob(tail), lines=115_852, most=857, least=10)
    monkeypatch.setitem(PUBLISHED, "lt", stand_in)
    (tmp_path / "ImageNet_LT_train.txt").write_bytes(tail)
    part = subset(source, choice, 0)
    assert np.bincount(part.label).tolist() == [115] * 1000
    assert not names(source, part) & set(listed["lt-val"])
    assert [one["file"] for one in part.origin["lists"]] == ["imagenet_longtail_train.txt", "imagenet_longtail_val.txt"]
    assert "not 1,281,167" in part.origin["note"]
    assert part.origin["note"] in capsys.readouterr().err


def test_files_that_the_source_lacks_are_named_and_can_be_allowed(imagenet, shared):
    whole = imagenet["val"]
    short = made(list(whole.classes), [p for p in whole.paths if not p.startswith("n01440764")], "val")
    choice = Choice("lt-test", lists=shared / "lists")
    with pytest.raises(UserError, match=r"made lacks 50 of the 50000 files of .*: n01440764/.*, \.\.\.; .*--allow-mis"):
        subset(short, choice, 0)
    part = subset(short, Choice("lt-test", lists=shared / "lists", allow_missing=True), 0)
    assert (len(part.rows), len(part.missing)) == (49_950, 50)
    assert len(part.classes) == 1000  # one of them is empty
    with pytest.raises(UserError, match="complete the source"):
        subset(made(list(whole.classes), [], "val"), Choice("lt-test", lists=shared / "lists", allow_missing=True), 0)


# ---------------------------------------------------------------------------------------------------------- own lists


def test_a_file_that_agrees_with_the_source_keeps_its_classes(pets, tmp_path):
    for text in ("train/dog/03.jpg 1\n/cat/00.jpg 0\n", "dog/03.jpg\ncat/00.jpg\n"):
        (tmp_path / "mine.txt").write_text(text)
        part = subset(pets, Choice(str(tmp_path / "mine.txt")), 0)
        assert names(pets, part) == {"dog/03.jpg", "cat/00.jpg"}
        assert part.label.tolist() == [0, 1]
        assert part.classes == pets.classes
        assert (part.origin["name"], part.origin["file"], part.origin["labels"]) == ("mine", "mine.txt", "source")
        assert len(part.origin["sha256"]) == 64


def test_a_file_with_labels_of_its_own_makes_them_the_classes(pets, stream, tmp_path):
    (tmp_path / "mine").write_text("dog/03.jpg 0\ncat/00.jpg 4\n")
    part = subset(pets, Choice(str(tmp_path / "mine")), 0)
    assert part.classes == ("0", "1", "2", "3", "4")
    assert (part.label.tolist(), part.label.dtype) == ([4, 0], np.int32)
    assert part.origin["labels"] == "list"
    (tmp_path / "streams").write_text("0/3.jpg 1\n0/1.jpg 0\n")
    assert subset(stream, Choice(str(tmp_path / "streams")), 0).label.tolist() == [0, 1]
    (tmp_path / "paths").write_text("0/3.jpg\n")
    assert subset(stream, Choice(str(tmp_path / "paths")), 0).classes == ()


def test_a_file_of_classes_drops_the_others(pets, tmp_path):
    (tmp_path / "two").write_text("/eel\n/cat\n")
    part = subset(pets, Choice(classes=str(tmp_path / "two")), 0)
    assert part.classes == ("cat", "eel")
    assert np.bincount(part.label).tolist() == [10, 3]
    (tmp_path / "none").write_text("ant\n")
    with pytest.raises(UserError, match="names 1 classes that are not among the 3"):
        subset(pets, Choice(classes=str(tmp_path / "none")), 0)
    (tmp_path / "mine").write_text("dog/03.jpg\n")
    with pytest.raises(UserError, match="nothing is left"):
        subset(pets, Choice(str(tmp_path / "mine"), classes=str(tmp_path / "two")), 0)


# ------------------------------------------------------------------------------------------------------------- shares


def test_a_fraction_is_of_each_class_and_holds_every_smaller_one(pets):
    parts = [subset(pets, Choice(fraction=f), 3) for f in (0.01, 0.25, 0.5, 0.9)]
    assert [np.bincount(part.label).tolist() for part in parts] == [[1, 1, 1], [2, 2, 1], [5, 3, 2], [9, 5, 3]]
    for small, large in pairwise(parts):
        assert set(small.rows) < set(large.rows)
    assert parts[0].origin == {"name": "full", "from": "source", "fraction": 0.01, "seed": 3}
    assert set(subset(pets, Choice(fraction=0.5), 4).rows) != set(parts[2].rows)


def test_so_many_of_each_class_or_what_there_is(pets, stream):
    part = subset(pets, Choice(per_class=3), 0)
    assert np.bincount(part.label).tolist() == [3, 3, 3]
    assert set(part.rows) < set(subset(pets, Choice(per_class=5, allow_missing=True), 0).rows)
    with pytest.raises(UserError, match=r"class dog has 6 pictures \(2 of 3 classes .*fewer than 7.*--allow-missing"):
        subset(pets, Choice(per_class=7), 0)
    assert np.bincount(subset(pets, Choice(per_class=7, allow_missing=True), 0).label).tolist() == [7, 6, 3]
    assert len(subset(stream, Choice(per_class=4), 0).rows) == 4
    assert len(subset(stream, Choice(fraction=0.34), 0).rows) == 3
    with pytest.raises(UserError, match="class unlabelled has 9"):
        subset(stream, Choice(per_class=10), 0)


def test_a_share_comes_after_the_drawn_set_and_the_classes(pets):
    drawn = subset(pets, Choice("lt", draw_subset=True, imbalance=2), 0)
    half = subset(pets, Choice("lt", draw_subset=True, imbalance=2, fraction=0.5), 0)
    assert set(half.rows) < set(drawn.rows)
    assert (half.origin["from"], half.origin["fraction"]) == ("draw", 0.5)
    one = subset(pets, Choice("clsset1_comp", draw_subset=True, per_class=1), 0)
    assert (one.classes, one.label.tolist()) == (("dog", "eel"), [0, 1])


# -------------------------------------------------------------------------------------------------------------- words


def test_a_subset_knows_its_split(tmp_path):
    assert split_of("full", None) == split_of("lt6", None) == split_of("clsset1", None) == ("train", "train")
    assert split_of("full", "val") == split_of("lt-test", None) == ("val", "val")
    assert split_of("lt-val", None) == split_of("lt-val", "val") == split_of("lt-val", "train") == ("train", "val")
    (tmp_path / "mine").touch()
    assert split_of(str(tmp_path / "mine"), "val") == ("val", "val")
    for name in ("lt6", "100kp"):
        with pytest.raises(UserError, match=f"{name} is a part of the train split: use --split train, or --subset f"):
            split_of(name, "val")
    with pytest.raises(UserError, match="lt-test is a part of the val split: use --split val, or --subset full for tr"):
        split_of("lt-test", "train")


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (
            Choice("lt5"),
            r"unknown subset 'lt5': did you mean 'lt.*there are full, lt0.*; or name a file, lt5 is none",
        ),
        (Choice(classes="clsset3"), "unknown class set 'clsset3': did you mean"),
        (Choice(draw_subset=True), "name its shape, as in --subset lt6"),
        (Choice("lt", draw_subset="release"), "repeats how lt0, 100kp, lt8, lt6, lt4, lt2 were made, not lt: name one"),
        (Choice(__file__, draw_subset=True), "nothing to draw of the list"),
        (Choice("lt6"), r"ImageNet's 1000 classes, made has 3 .*--draw-subset draws the same shape"),
        (Choice("lt6", draw_subset="release"), "ImageNet's 1000 classes, made has 3"),
        (Choice(fraction=0.0), "--fraction 0.0 is not a share"),
        (Choice(fraction=float("nan")), "--fraction nan is not a share"),
        (Choice(per_class=-1), "--per-class -1 is less than none"),
        (Choice(fraction=0.5, per_class=2), "give one of them"),
        (Choice("lt", draw_subset=True, imbalance=0.5), "--imbalance 0.5 is not head over tail"),
    ],
)
def test_wrong_words_are_answered_with_the_right_ones(choice, said, pets):
    with pytest.raises(UserError, match=said):
        subset(pets, choice, 0)


def test_a_val_source_gives_no_part_of_train(pets):
    val = made(list(pets.classes), pets.paths, "val")
    for name in ("lt6", "lt-val"):
        with pytest.raises(UserError, match="--split"):
            subset(val, Choice(name, draw_subset=True), 0)


def test_without_labels_there_are_no_classes_to_go_by(stream, pets, tmp_path):
    assert subset(stream, Choice(), 0).label.tolist() == [-1] * 9
    for choice in (Choice("lt6"), Choice("lt0", draw_subset=True), Choice("clsset1")):
        with pytest.raises(UserError, match=r"made has no classes to take \S+ by: use --subset full"):
            subset(stream, choice, 0)
    (tmp_path / "two").write_text("cat\n")
    with pytest.raises(UserError, match="no classes to choose from: leave out --classes"):
        subset(stream, Choice(classes=str(tmp_path / "two")), 0)
