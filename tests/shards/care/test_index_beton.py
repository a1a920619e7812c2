"""Betons that ffcv wrote become a set when they are described: which field is the label, which split they are."""

import io
import shutil
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

from viewstream.shards.care.index import index
from viewstream.shards.care.verify import verify
from viewstream.shards.errors import UserError
from viewstream.shards.formats.read import open_beton


@pytest.mark.skipif(not find_spec("ffcv"), reason="ffcv is not installed")
@pytest.mark.parametrize("mode", ["raw", "jpg"])
def test_a_beton_of_ffcvs_writer_becomes_a_set(mode, tmp_path, smooth_pixels):
    from ffcv.fields import FloatField, IntField, RGBImageField
    from ffcv.writer import DatasetWriter

    images = [Image.fromarray(smooth_pixels(n, 40 + n, 60)) for n in range(12)]
    (tmp_path / "theirs").mkdir()
    fields = {"label": IntField(), "weight": FloatField(), "image": RGBImageField(write_mode=mode)}
    writer = DatasetWriter(str(tmp_path / "theirs" / "some.beton"), fields, num_workers=1)
    writer.from_indexed_dataset(_Rows(images))
    made = index(tmp_path / "theirs", workers=1)
    assert made.label.tolist() == [n % 4 for n in range(12)]
    reader = open_beton(made)
    for row, image in enumerate(images):
        data = reader.read(row)
        if mode == "raw":
            assert np.array_equal(data, np.asarray(image))
        else:
            assert np.asarray(Image.open(io.BytesIO(data))).shape == np.asarray(image).shape
        assert made.hw[row].tolist() == [image.height, image.width]
    assert verify(made) == []


class _Rows:
    def __init__(self, images, numbers=(lambda n: n % 4, lambda n: 0.5)):
        self.images, self.numbers = images, numbers

    def __len__(self):
        return len(self.images)

    def __getitem__(self, n):
        return *(number(n) for number in self.numbers), self.images[n]


@pytest.fixture
def beton(tmp_path, smooth_pixels):
    """(field=function from a sample's number to its value, ...) -> the folder of a .beton of eight images."""
    fields = pytest.importorskip("ffcv.fields", reason="ffcv is not installed")
    writer = pytest.importorskip("ffcv.writer")

    def make(**numbers):
        images = [Image.fromarray(smooth_pixels(n, 20, 24)) for n in range(8)]
        kinds = {n: fields.IntField() if isinstance(f(0), int) else fields.FloatField() for n, f in numbers.items()}
        (tmp_path / "b").mkdir()
        kinds["image"] = fields.RGBImageField(write_mode="jpg")
        into = writer.DatasetWriter(str(tmp_path / "b" / "x.beton"), kinds, num_workers=1)
        into.from_indexed_dataset(_Rows(images, tuple(numbers.values())))
        return tmp_path / "b"

    return make


def _third(n):
    return n % 3


def _plus(n):
    return 100 + n


@pytest.mark.parametrize(
    "numbers",
    [
        {"index": _plus, "label": _third},
        {"label": lambda n: float(n % 3), "id": _plus},
        {"id": _plus, "Target": _third},
        {"y": _third, "weight": lambda n: n / 2},
    ],
    ids=lambda numbers: "-".join(numbers),
)
def test_the_label_of_a_beton_is_the_field_that_is_named_so(numbers, beton):
    made = index(beton(**numbers), workers=1)
    assert made.label.tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert made.info.classes == ("0", "1", "2")
    (left,) = made.info.report["passed_over"] if len(numbers) > 1 else ({"count": 0},)
    assert left["count"] == len(numbers) - 1


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"index": _plus}, r"which field holds its labels \(index\): name it with --label-field index"),
        ({"a": _third, "b": _plus}, r"which field holds its labels \(a, b\): name it with --label-field a"),
        ({"label": lambda n: n / 2}, r"field label holds 0\.5, which is no class"),
        ({"label": lambda n: float("nan")}, r"field label holds nan, which is no class"),
        ({"label": lambda n: 2**40 + n}, "has a label 1099511627783: a label is the number of a class"),
        ({"label": lambda n: n - 1}, r"1 of 8 images in .*x\.beton have no label"),
    ],
    ids=["index", "two", "half", "nan", "large", "negative"],
)
def test_a_beton_whose_labels_are_unclear_is_refused_and_a_field_can_be_named(numbers, message, beton):
    folder = beton(**numbers)
    with pytest.raises(UserError, match=message):
        index(folder, workers=1)
    with pytest.raises(UserError, match="unknown field of labels 'lable'"):
        index(folder, workers=1, label_field="lable")
    assert index(folder, workers=1, label_field="none").info.classes == ()


def test_several_betons_are_one_set_and_words_in_their_names_choose_the_split(beton, smooth_pixels):
    from viewstream.pipeline.readers.ffcv import CachedBetonReader

    folder = beton(label=_third)
    (folder / "x.beton").rename(folder / "b-1.beton")
    shutil.copy(folder / "b-1.beton", folder / "a-0.beton")
    made = index(folder, workers=1)
    assert made.keys == [f"{stem}/{n:08d}" for stem in ("a-0", "b-1") for n in range(8)]
    assert made.label.tolist() == [0, 1, 2, 0, 1, 2, 0, 1] * 2
    assert [line["samples"] for line in made.info.files] == [8, 8]
    for reader in (open_beton(made), CachedBetonReader(made)):
        with reader:
            assert all(reader.read(row) == reader.read(row + 8) for row in range(8))
            assert reader.locate(10).endswith("b-1.beton, its sample 2")
    assert verify(made, workers=1) == []
    data = bytearray((folder / "b-1.beton").read_bytes())
    data[made_at := data.find(b"\xff\xd8\xff") + 200] ^= 1
    (folder / "b-1.beton").write_bytes(data)
    assert [(d.file, len(d.rows)) for d in verify(made, workers=1)] == [("b-1.beton", 1)], made_at
    with pytest.raises(UserError, match=r"holds 2 \.beton files, stock ffcv reads one: take --loader ffcv"):
        made.beton_path()
    (folder / "dataset.json").unlink()
    (folder / "a-0.beton").rename(folder / "a-val.beton")
    (folder / "b-1.beton").rename(folder / "a-train.beton")
    assert index(folder, "val", workers=1).keys == [f"a-val/{n:08d}" for n in range(8)]
