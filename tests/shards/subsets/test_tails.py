"""Named long tails have the counts of the field, are drawn by key, and refuse other classes."""

import io
import json
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.errors import UserError
from viewstream.shards.sources.source import Source
from viewstream.shards.subsets.choose import split_of, subset
from viewstream.shards.subsets.options import SubsetOptions
from viewstream.shards.subsets.tails import tail_counts

from .named import PETS, named

GOLDEN = Path(__file__).parents[2] / "golden"
pytestmark = pytest.mark.usefixtures("no_lists")


def counted(names: list[str], counts: list[int]) -> Source:
    """A source of so many images of each class; its uids are numbers, to save time."""
    source = named(names, [f"{name}/{n}.jpg" for name, count in zip(names, counts, strict=True) for n in range(count)])
    object.__setattr__(source, "uids", lambda rows: rows.astype(np.uint64))
    return source


@cache
def cifar(classes: int, each: int) -> Source:
    return counted([f"c{n:02d}" for n in range(classes)], [each] * classes)


@pytest.mark.parametrize(("classes", "name"), [(10, "cifar10"), (100, "cifar100")])
def test_the_tails_of_sdclr_have_the_recorded_counts(classes, name):
    with np.load(GOLDEN / f"lt_thirds_{name}.npz") as g:
        recorded = np.sort(g["counts"], axis=1)[:, ::-1]
    assert (recorded == tail_counts(f"{name}-lt-sdclr")).all()
    source = cifar(classes, int(recorded.max()))
    orders = []
    for seed in range(3):
        part = subset(source, SubsetOptions(f"{name}-lt-sdclr"), seed)
        counts = np.bincount(part.label)
        assert (np.sort(counts)[::-1] == recorded[0]).all()
        orders.append(tuple(counts))
    assert len(set(orders)) == 3  # each seed orders the classes in its own way


def test_imagenet_100_lt_has_the_recorded_counts_of_the_classes_that_the_user_names(tmp_path):
    with np.load(GOLDEN / "lt_thirds_imagenet100.npz") as g:
        recorded = g["counts"]
    assert (tail_counts("imagenet100-lt") == recorded).all()
    names = [f"n{c:03d}" for c in range(101)]
    source = counted(names, [*recorded.tolist(), 1])
    (tmp_path / "hundred.txt").write_text("\n".join(names[:100]))
    part = subset(source, SubsetOptions("imagenet100-lt", classes=str(tmp_path / "hundred.txt")), 0)
    assert (np.bincount(part.label) == recorded).all()
    with pytest.raises(UserError, match="imagenet100-lt has 100 classes, made has 101 of these: name its 100 classes"):
        subset(source, SubsetOptions("imagenet100-lt"), 0)


@pytest.mark.parametrize(("imbalance", "least"), [(0, 50), (50, 100), (10, 500)])
def test_a_tail_of_cifar_falls_from_its_first_class_by_the_imbalance(imbalance, least):
    part = subset(cifar(10, 5000), SubsetOptions("cifar10-lt", imbalance=imbalance), 0)
    counts = np.bincount(part.label)
    assert (counts[0], counts[-1]) == (5000, least)
    assert (np.diff(counts) < 0).all()
    assert part.origin == {
        **{"name": "cifar10-lt", "from": "draw", "seed": 0, "counts": "exponential"},
        "imbalance": imbalance or 100,
    }


def test_a_smaller_tail_lies_within_a_larger_one_and_the_seed_draws_its_images():
    source = cifar(10, 5000)
    rows = {i: set(subset(source, SubsetOptions("cifar10-lt", imbalance=i), 0).rows) for i in (10, 50, 100)}
    assert rows[100] < rows[50] < rows[10]
    assert set(subset(source, SubsetOptions("cifar10-lt"), 1).rows) != rows[100]


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (SubsetOptions("cifar10-lt"), "cifar10-lt has 10 classes, made has 3 of these: name its own source"),
        (SubsetOptions("places-lt"), "places-lt has 62,500 images in 365 classes, made has 19 in 3: name its training"),
        (SubsetOptions("imagenet100-lt", imbalance=10), "imagenet100-lt has its own counts: leave it out"),
        (SubsetOptions("cifar10-lt", imbalance=0.5), "--imbalance 0.5 is not a ratio"),
    ],
)
def test_other_classes_and_options_that_do_nothing_are_errors(choice, message):
    with pytest.raises(UserError, match=message):
        subset(PETS, choice, 0)


def test_too_few_images_of_a_class_are_an_error_that_names_it():
    with pytest.raises(UserError, match=r"cifar10-lt takes 5,000 images of class c00, made has 400 \(classes that"):
        subset(cifar(10, 400), SubsetOptions("cifar10-lt"), 0)


def test_sets_that_are_long_tailed_as_they_are_take_all_of_their_list():
    places = named([f"p{c:03d}" for c in range(365)], [f"p{n % 365:03d}/{n}.jpg" for n in range(62_500)])
    part = subset(places, SubsetOptions("places-lt"), 0)
    assert len(part.rows) == 62_500
    assert part.origin == {"name": "places-lt", "from": "source"}
    assert len(subset(PETS, SubsetOptions("inat18"), 0).rows) == len(PETS)  # its own list says how many
    bare = named([*PETS.classes, "fox"], PETS.paths)
    with pytest.raises(UserError, match="1 of 4 classes of made have no images"):
        subset(bare, SubsetOptions("inat18"), 0)


def test_tails_are_made_of_training_images():
    assert split_of("cifar10-lt", None) == ("train", "train")
    with pytest.raises(UserError, match="--subset cifar10-lt is made of training images: use --subset full for val"):
        split_of("cifar10-lt", "val")


@pytest.mark.full
def test_cifar_100_is_built_from_parquet_as_a_tail(tmp_path):
    page = io.BytesIO()
    Image.new("RGB", (32, 32), "teal").save(page, "png")
    names = [f"c{n:02d}" for n in range(100)]
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": names}}
    label = np.repeat(np.arange(100), 500)
    rows = pa.table({"image": pa.array([{"bytes": page.getvalue()}] * len(label)), "label": label})
    rows = rows.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(rows, tmp_path / "train-00000.parquet", use_dictionary=False, compression="none")
    options = BuildOptions(source=tmp_path, out=tmp_path / "set", format=("webdataset",))
    data = build(options, SubsetOptions("cifar100-lt"))
    assert data.counts == tuple(tail_counts("cifar100-lt"))
    assert data.info.subset["imbalance"] == 100
