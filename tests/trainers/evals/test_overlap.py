"""Test images that are in the bank are found by their bytes, in built sets and in folders of images."""

import numpy as np

from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.memory import in_memory
from viewstream.shards.plain import plain
from viewstream.trainers.evals.overlap import overlap, warned


def part(data, rows):
    return data.take(rows, data.label[rows], data.info.classes)


def test_images_of_the_bank_are_counted_whatever_their_place_and_name(built, built_val, capsys):
    assert warned(built, built_val) == 0
    assert not capsys.readouterr().err
    assert warned(built, part(built, np.array([5, 2, 90]))) == 3
    assert f"warning: 3 of 3 test images are in the bank ({built.root}): " in capsys.readouterr().err
    assert overlap(part(built, np.arange(10)), part(built, np.arange(4, 30))) == 6


def test_images_of_folders_are_compared_without_a_build(pets, tmp_path):
    train, val = plain(pets, "train"), plain(pets, "val")
    assert overlap(train, val) == 0
    assert overlap(train, train) == len(train) == 96
    few = part(train, np.arange(7))
    assert overlap(train, few) == 7
    kept = build(BuildOptions(source=pets, out=tmp_path / "kept", keep=True, workers=1))
    assert overlap(kept, few) == overlap(few, kept) == 7


def test_a_reader_of_your_own_leaves_nothing_to_compare(built, capsys):
    own = in_memory("own", ["a", "b"], np.zeros(2, int), np.ones((2, 2), int), ["c"])
    assert warned(own, built) is None
    assert "note: test images are not compared with the bank" in capsys.readouterr().err
