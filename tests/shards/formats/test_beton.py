"""Stock ffcv reads our `.beton`: its reader, its loader and both of its caches."""

import io
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from viewstream.shards.building.build import build
from viewstream.shards.formats import beton as module
from viewstream.shards.formats.beton import BetonWriter

pytestmark = pytest.mark.skipif(not find_spec("ffcv"), reason="ffcv is not installed")


def test_its_reader_finds_our_samples(options):
    from ffcv.reader import Reader

    made = build(options())
    read = Reader(str(made.root / made.info.files[-1]["file"]))
    assert read.field_names == ["image", "label"]
    assert read.num_samples == len(made)
    assert read.metadata["f1"].tolist() == made.label.tolist()
    assert read.metadata["f0"]["height"].tolist() == made.height.tolist()
    assert read.metadata["f0"]["width"].tolist() == made.width.tolist()
    assert read.alloc_table["size"].tolist() == made.bytes.tolist()


def test_its_types_have_the_layout_that_we_write():
    from ffcv import types
    from ffcv.fields import IntField, RGBImageField

    ours = (module.HEADER, module.FIELD, module.SAMPLE, module.ALLOCATION)
    fields = [RGBImageField(), IntField()]
    stock = (types.HeaderType, types.FieldDescType, types.get_metadata_type(fields), types.ALLOC_TABLE_TYPE)
    assert [t.itemsize for t in ours] == [t.itemsize for t in stock]
    assert [[t.fields[n][1] for n in t.names] for t in (ours[0], ours[1], ours[3])] == [
        [t.fields[n][1] for n in t.names] for t in (stock[0], stock[1], stock[3])
    ]
    assert not any(bytes(field.to_binary()[0]).strip(b"\0") for field in fields)
    assert [types.TYPE_ID_HANDLER[n] for n in (module.IMAGE, module.INTEGER)] == [RGBImageField, IntField]


@pytest.mark.full
@pytest.mark.parametrize("cache", ["os", "process"])
def test_its_loader_shows_the_pixels_of_our_bytes(cache, options, monkeypatch, tmp_path, program):
    import cv2

    monkeypatch.setattr(module, "PAGE", 1 << 13)  # so 40 samples take many pages, and some are larger than one
    made = build(options(format=("ffcv", "folder")))
    beton, out = made.root / made.info.files[-1]["file"], tmp_path / "shown.npz"
    done = program(Path(__file__).with_name("stock_loader.py"), beton, cache, out)
    assert done.returncode == 0, done.stderr
    with np.load(out) as file:
        images, labels = file["images"], file["labels"]
    assert labels.tolist() == made.label.tolist()
    for row, shown in enumerate(images):
        pixels = simplejpeg.decode_jpeg(made.path(row).read_bytes())
        side = min(pixels.shape[:2])
        top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
        square = np.ascontiguousarray(pixels[top : top + side, left : left + side])
        wanted = cv2.resize(square, (48, 48), interpolation=cv2.INTER_AREA)
        assert np.abs(shown.astype(int) - wanted).mean() < 2  # its decoder's fast DCT


def test_no_sample_crosses_a_page_and_a_large_one_doubles_it(monkeypatch):
    monkeypatch.setattr(module, "PAGE", 1 << 12)
    rng = np.random.default_rng(0)
    sizes = [*rng.integers(1, 3000, 50).tolist(), 10_000, 5, *rng.integers(1, 9000, 20).tolist()]
    file = io.BytesIO()
    made = BetonWriter(file, len(sizes))
    for number, size in enumerate(sizes):
        assert made.add(bytes([number % 251]) * size, bytes(32), 1, 1, number) == number
    made.end()
    assert made.page == 1 << 14
    data = file.getvalue()
    for number, (row, size) in enumerate(zip(made.rows, sizes, strict=True)):
        first, last = int(row["where"]), int(row["where"]) + size - 1
        assert first // made.page == last // made.page
        assert data[first : last + 1] == bytes([number % 251]) * size


def test_a_small_set_stays_small(options):
    made = build(options(format=("ffcv",)))
    assert made.info.files[0]["bytes"] < made.bytes.sum() + 10_000
