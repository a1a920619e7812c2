"""Drawn sets are nested, with the published counts for ImageNet and the published shape for other sources."""

from itertools import pairwise

import numpy as np
import pytest

from viewstream.shards.errors import UserError
from viewstream.shards.sources.source import Source
from viewstream.shards.subsets.draws import TABLE, drawn, drawn_counts, keyed_rank
from viewstream.shards.subsets.fetch import blob
from viewstream.shards.subsets.published import CLASSES, PUBLISHED

from .named import named

pytestmark = pytest.mark.usefixtures("no_lists")
COUNTS = np.loadtxt(TABLE, np.int64, delimiter=",", skiprows=1)
TRAIN = [name for name, published in PUBLISHED.items() if published.split == ("train", "train")]


def source(classes: list[str], counts: list[int]) -> Source:
    """A source with so many images of each class; its uids are computed once, to save time."""
    paths = [f"{c}/{c}_{n}.JPEG" for c, count in zip(classes, counts, strict=True) for n in range(count)]
    source = named(classes, paths)
    uid = source.uids(np.arange(len(paths)))
    object.__setattr__(source, "uids", lambda rows: uid[rows])
    return source


@pytest.fixture(scope="module")
def imagenet():
    """A source of 1000 classes, each just large enough for every draw."""
    return source([f"n{c:08d}" for c in range(CLASSES)], (np.maximum(COUNTS.max(1), 116) + 20).tolist())


@pytest.mark.parametrize("name", [*TRAIN, "lt-val"])
def test_imagenet_draws_have_the_published_counts_outside_lt_val(name, imagenet, capsys):
    rows, origin = drawn(imagenet, name, 256, None, 0)
    counts, want = np.bincount(imagenet.label[rows]), PUBLISHED[name]
    reconstructed = name == "lt"  # and so one image short, which a note reports
    assert (counts.sum(), counts.max(), counts.min()) == (want.lines - reconstructed, want.largest, want.smallest)
    assert ("115,845" in capsys.readouterr().err) == reconstructed == ("note" in origin)
    assert (np.diff(rows) > 0).all()
    if name != "lt-val":
        assert origin["held_out"] == {"from": "draw", "per_class": 20}
        assert not set(rows) & set(drawn(imagenet, "lt-val", 256, None, 0)[0])


def test_a_larger_draw_contains_a_smaller_one_in_each_class(imagenet):
    sets = {name: drawn(imagenet, name, 256, None, 5)[0] for name in TRAIN}
    assert set(sets["lt0"]) < set(sets["100kp"])
    for c in (0, 1, 999):
        images = sorted((set(rows[imagenet.label[rows] == c]) for rows in sets.values()), key=len)
        assert all(small <= large for small, large in pairwise(images))
    assert set(drawn(imagenet, "lt0", 256, None, 6)[0]) != set(sets["lt0"])


def test_images_of_the_lt_val_list_are_never_drawn(imagenet, monkeypatch, tmp_path):
    val = [f"n{c:08d}/n{c:08d}_{n}.JPEG" for c in range(CLASSES) for n in range(20)]
    text = "".join(f"train/{path} {n // 20}\n" for n, path in enumerate(val)).encode()
    (tmp_path / PUBLISHED["lt-val"].file).write_bytes(text)
    with pytest.raises(UserError, match="is not the published list"):
        drawn(imagenet, "lt0", 256, tmp_path, 0)
    monkeypatch.setitem(PUBLISHED, "lt-val", PUBLISHED["lt-val"]._replace(blob=blob(text)))
    monkeypatch.setenv("VIEWSTREAM_LISTS", str(tmp_path))
    rows, origin = drawn(imagenet, "lt0", 256, None, 0)
    assert len(rows) == 115_000
    assert not {imagenet.paths[row] for row in rows} & set(val)
    assert origin["held_out"]["file"] == "imagenet_longtail_val.txt"
    with pytest.raises(UserError, match="build lt-val by that list too, without --draw-subset"):
        drawn(imagenet, "lt-val", 256, None, 0)


def test_a_draw_that_is_impossible_names_the_remedy():
    few = source([f"n{c:08d}" for c in range(CLASSES)], [100] * CLASSES)
    with pytest.raises(
        UserError, match=r"lt0 takes 115 .* made has 80 outside lt-val \(classes that are short: 1000\)"
    ):
        drawn(few, "lt0", 256, None, 0)
    pets = source(["cat", "dog"], [50, 50])
    for name, message in (
        ("100kp", "drawn only from ImageNet's 1000 classes, made has 2: lt0 draws as many"),
        ("lt-val", "made has 2: build its validation split"),
        ("lt-test", "lt-test cannot be drawn: .* --split val"),
    ):
        with pytest.raises(UserError, match=message):
            drawn(pets, name, 256, None, 0)


def test_a_drawn_tail_depends_on_seed_and_imbalance():
    whole = source([f"c{n:02d}" for n in range(12)], [150] * 12)
    rows, origin = drawn(whole, "lt6", 256, None, 0)
    counts = np.bincount(whole.label[rows], minlength=12)
    assert counts.max() > 10 * counts.min() > 0
    assert counts.tolist() != sorted(counts, reverse=True)  # the head is not the first class of the alphabet
    shape = {"counts": "pareto", "exponent": 0.6, "imbalance": 256}
    assert origin == {"name": "lt6", "from": "draw", "seed": 0, **shape}
    assert set(drawn(whole, "lt6", 256, None, 1)[0]) != set(rows)
    milder = np.bincount(whole.label[drawn(whole, "lt", 4, None, 0)[0]])
    assert milder.max() / milder.min() == pytest.approx(4, rel=0.05)
    assert len(set(np.bincount(whole.label[drawn(whole, "lt0", 256, None, 0)[0]]))) == 1


def test_unlabeled_images_are_never_drawn():
    half = source(["a", "b"], [40, 40])
    half.label[::2] = -1
    rows, _ = drawn(half, "lt", 2, None, 0)
    assert (half.label[rows] >= 0).all()


def test_ranks_count_from_zero_in_every_group():
    group = np.array([3, 0, 3, 0, 3])
    rank = keyed_rank(np.arange(5, dtype=np.uint64), group, 0)
    assert sorted(rank[group == 3]) == [0, 1, 2]
    assert sorted(rank[group == 0]) == [0, 1]


def test_the_exponent_rule_gives_the_published_counts():
    assert COUNTS.sum(0).tolist() == [115_845, 115_885, 115_801, 115_836, 115_852]
    for column, exponent in enumerate((0.2, 0.4, 0.6, 0.8), start=1):
        flat = COUNTS[:, 0].astype(float) ** exponent
        assert np.abs(np.rint(flat * 115.846 / flat.mean()) - COUNTS[:, column]).max() <= 1  # lt is known up to one
    counts = drawn_counts(np.full(1000, 1280), 1.0, order=np.arange(1000), imbalance=256)
    assert (counts[0], counts[-1]) == (1280, 5)
    assert abs(counts.sum() / 115_846 - 1) < 0.06  # the curve is close to that of ImageNet-LT


def test_counts_are_at_least_one_and_at_most_the_class():
    have = np.array([3, 500, 0, 1, 90])
    counts = drawn_counts(have, 0.6, order=np.array([4, 0, 2, 1, 3]), imbalance=256)
    assert (counts <= have).all()
    assert (counts[have > 0] >= 1).all()
    assert drawn_counts(np.array([7]), 0.6, order=np.array([0]), imbalance=256).tolist() == [7]
