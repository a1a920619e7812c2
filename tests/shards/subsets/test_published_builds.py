"""Published subsets as sets on disk, built from a tree of tiny JPEGs with the names of ImageNet."""

import gzip
from importlib.util import find_spec

import numpy as np
import pytest

from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.lists import parse
from viewstream.shards.subsets.options import SubsetOptions
from viewstream.shards.subsets.published import PUBLISHED

pytestmark = pytest.mark.full
TRAIN = ("lt0", "100kp", "lt2", "lt4", "lt6", "lt8")
FIGURES = {  # images of the largest and the smallest class, total (BalFeat's table)
    "lt0": (115, 115, 115_000),
    "lt2": (204, 67, 115_885),
    "lt4": (343, 37, 115_801),
    "lt6": (553, 20, 115_836),
    "lt8": (857, 10, 115_852),
    "100kp": (116, 116, 116_000),
    "lt-val": (20, 20, 20_000),
}


@pytest.fixture(scope="module")
def imagenet(shared, tmp_path_factory, jpeg):
    """A tree with every image of the training lists."""
    root = tmp_path_factory.mktemp("imagenet") / "imagenet"
    names: set[str] = set()
    for name in (*TRAIN, "lt-val"):
        text = gzip.decompress((shared / "lists" / f"{PUBLISHED[name].file}.gz").read_bytes())
        names |= set(parse(text, name)[0])
    data = jpeg(1, 16, 16)
    for wnid in sorted({name.partition("/")[0] for name in names}):
        (root / "train" / wnid).mkdir(parents=True)
    for name in names:
        (root / "train" / name).write_bytes(data)
    return root


@pytest.mark.parametrize("name", [*TRAIN, "lt-val"])
def test_a_published_list_builds_to_its_published_figures(name, imagenet, shared, tmp_path):
    choice = SubsetOptions(name, lists=shared / "lists")
    manifest = build(BuildOptions(source=imagenet, out=tmp_path / "out", keep=True, format=("webdataset",)), choice)
    counts = np.array(manifest.info.counts)
    assert (counts.max(), counts.min(), len(manifest)) == FIGURES[name]
    assert manifest.info.subset["from"] == "list"
    assert manifest.info.split == ("val" if name == "lt-val" else "train")


@pytest.mark.parametrize("name", ["lt0", "lt4"])
def test_a_drawn_set_builds_to_the_same_figures(name, imagenet, tmp_path):
    options = BuildOptions(source=imagenet, out=tmp_path / "out", keep=True, format=("ffcv",))
    manifest = build(options, SubsetOptions(name, draw_subset=True))
    counts = np.array(manifest.info.counts)
    assert (counts.max(), counts.min(), len(manifest)) == FIGURES[name]


@pytest.mark.parametrize("name", ["clsset1", "clsset1_comp", "clsset2", "clsset2_comp"])
def test_a_class_set_of_a_list_builds_to_its_classes_renumbered(name, imagenet, shared, tmp_path):
    choice = SubsetOptions("lt8", classes=name, lists=shared / "lists")
    manifest = build(BuildOptions(source=imagenet, out=tmp_path / "out", keep=True, format=("webdataset",)), choice)
    expected = [line.strip("/") for line in (shared / "lists" / f"imagenet_{name}.txt").read_text().split()]
    assert manifest.info.classes == tuple(sorted(expected))
    for label, key in zip(manifest.label.tolist(), manifest.keys, strict=True):
        assert manifest.info.classes[label] == key.partition("/")[0]


def test_ffcv_itself_reads_a_published_set(imagenet, shared, tmp_path):
    if not find_spec("ffcv"):
        pytest.skip("ffcv is not installed")
    from ffcv.reader import Reader

    options = BuildOptions(source=imagenet, out=tmp_path / "out", keep=True, format=("ffcv",))
    manifest = build(options, SubsetOptions("lt8", lists=shared / "lists"))
    reader = Reader(str(manifest.beton_path()))
    assert np.array_equal(reader.metadata["f1"], manifest.label)
