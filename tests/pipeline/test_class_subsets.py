"""Some classes of a built set, without a build: the same images through every reader, with new labels."""

import shutil
from contextlib import closing

import numpy as np
import pytest
import torch

from viewstream.augment.recipes import moco_v2
from viewstream.pipeline.choose import open_loader
from viewstream.pipeline.plan.order import Plan
from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.errors import UserError
from viewstream.shards.plain import plain
from viewstream.shards.subsets.classsets import computed, only
from viewstream.shards.subsets.options import SubsetOptions


@pytest.fixture
def names(tmp_path):
    path = tmp_path / "cold.txt"
    path.write_text("/fox\n/eel\n")
    return path


def views_by_uid(reader, data):
    plan = Plan(len(data), batch=8, tail="exact")
    with closing(open_loader(reader, data, plan, moco_v2(32), threads=1)) as loader:
        return {
            uid: (label, *views)
            for batch in loader.epoch(0)
            for uid, label, *views in zip(
                data.uid[batch.index].tolist(), batch.target.tolist(), *batch.views, strict=True
            )
        }


def test_some_classes_of_a_set_equal_a_build_of_them(built, pets, names, tmp_path):
    part = only(built, str(names))
    made = build(BuildOptions(source=pets, out=tmp_path / "made", workers=1), SubsetOptions(classes=str(names)))
    assert part.info.classes == made.info.classes == ("eel", "fox")
    assert part.info.counts == made.info.counts == (24, 24)
    place = np.argsort(part.uid), np.argsort(made.uid)
    for column in ("uid", "label", "height", "width"):
        assert np.array_equal(getattr(part, column)[place[0]], getattr(made, column)[place[1]])
    assert sorted(part.keys) == sorted(made.keys)


@pytest.mark.parametrize("reader", ["webdataset", "webdataset-stream", "ffcv", "folder"])
def test_every_reader_shows_the_images_of_a_part_as_in_the_whole(built, names, reader):
    part = only(built, str(names))
    whole, some = views_by_uid("webdataset", built), views_by_uid(reader, part)
    assert len(some) == len(part) == 48
    for uid, (label, *views) in some.items():
        assert part.info.classes[label] == built.info.classes[whole[uid][0]]
        assert all(torch.equal(a, b) for a, b in zip(views, whole[uid][1:], strict=True))


def test_class_folders_without_a_build_have_parts_too(pets, names, tmp_path):
    shutil.copytree(pets, tmp_path / "pets")
    data = plain(tmp_path / "pets")
    part = only(data, str(names))
    whole, some = views_by_uid("folder", data), views_by_uid("folder", part)
    assert {part.info.classes[label] for label, *_ in some.values()} == {"eel", "fox"}
    assert all(torch.equal(a, b) for uid in some for a, b in zip(some[uid][1:], whole[uid][1:], strict=True))


def test_two_halves_are_the_whole_and_have_nothing_in_common(built):
    halves = [only(built, name) for name in ("clsset2", "clsset2_comp")]
    assert [half.info.classes for half in halves] == [
        tuple(computed(name, built.info.classes)) for name in ("clsset2", "clsset2_comp")
    ]
    assert sorted(np.concatenate([half.uid for half in halves])) == sorted(built.uid)
    assert [half.info.name.removeprefix(built.info.name) for half in halves] == ["-clsset2", "-clsset2_comp"]


def test_an_absent_class_is_named(built, tmp_path):
    (tmp_path / "cold.txt").write_text("yak\n")
    with pytest.raises(UserError, match=r"cold.txt names 1 classes that are not among the 4 here .*yak"):
        only(built, str(tmp_path / "cold.txt"))
