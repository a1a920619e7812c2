"""A subset of the classes of a built set, without a build: the same images through every reader, with new labels."""

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


def test_a_subset_of_classes_equals_a_build_of_those_classes(built, pets, names, tmp_path):
    part = only(built, str(names))
    made = build(BuildOptions(source=pets, out=tmp_path / "made", workers=1), SubsetOptions(classes=str(names)))
    assert part.info.classes == made.info.classes == ("eel", "fox")
    assert part.info.counts == made.info.counts == (24, 24)
    order = np.argsort(part.uid), np.argsort(made.uid)
    for column in ("uid", "label", "height", "width"):
        assert np.array_equal(getattr(part, column)[order[0]], getattr(made, column)[order[1]])
    assert sorted(part.keys) == sorted(made.keys)


@pytest.mark.parametrize("reader", ["webdataset", "webdataset-stream", "ffcv", "folder"])
def test_every_reader_gives_the_same_views_of_a_subset_as_of_the_whole_set(built, names, reader):
    part = only(built, str(names))
    whole, subset = views_by_uid("webdataset", built), views_by_uid(reader, part)
    assert len(subset) == len(part) == 48
    for uid, (label, *views) in subset.items():
        assert part.info.classes[label] == built.info.classes[whole[uid][0]]
        assert all(torch.equal(a, b) for a, b in zip(views, whole[uid][1:], strict=True))


def test_class_folders_without_a_build_have_subsets_too(pets, names, tmp_path):
    shutil.copytree(pets, tmp_path / "pets")
    data = plain(tmp_path / "pets")
    part = only(data, str(names))
    whole, subset = views_by_uid("folder", data), views_by_uid("folder", part)
    assert {part.info.classes[label] for label, *_ in subset.values()} == {"eel", "fox"}
    assert all(torch.equal(a, b) for uid in subset for a, b in zip(subset[uid][1:], whole[uid][1:], strict=True))


def test_two_complementary_subsets_are_disjoint_and_make_up_the_set(built):
    halves = [only(built, name) for name in ("clsset2", "clsset2_comp")]
    assert [half.info.classes for half in halves] == [
        tuple(computed(name, built.info.classes)) for name in ("clsset2", "clsset2_comp")
    ]
    assert sorted(np.concatenate([half.uid for half in halves])) == sorted(built.uid)
    assert [half.info.name.removeprefix(built.info.name) for half in halves] == ["-clsset2", "-clsset2_comp"]


def test_an_unknown_class_is_named(built, tmp_path):
    (tmp_path / "cold.txt").write_text("yak\n")
    with pytest.raises(UserError, match=r"cold.txt names 1 class not among the 4 here .*yak"):
        only(built, str(tmp_path / "cold.txt"))
